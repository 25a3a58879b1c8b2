import { InstructPix2PixError } from "../core/errors.js";
import type { Answer } from "../network/answer.js";
import { downloadFile, type FileDownload } from "../network/download.js";
import { HttpError } from "../network/http-error.js";
import { displayUrl } from "../network/url.js";
import type { Environment } from "../runtime/platform.js";
import { isGitHash, isSha256 } from "./content.js";
import { HubError } from "./errors.js";
import { HubHttp, hubFailure, type NetworkOptions, toResponse } from "./http.js";
import { fileUrl, isCommit, type Repository, repositoryPage } from "./repository.js";
import type { HubSettings } from "./settings.js";

/** A file as a repository's listing describes it. */
export interface RepositoryFile {
  readonly name: string;
  readonly size: number;
  /** Hash of the file as git stores it; for a large file that is only a pointer. Undefined where the listing has none. */
  readonly gitHash: string | undefined;
  /** The hash of the content of a large file. */
  readonly sha256: string | undefined;
}

/** Metadata of a file from a HEAD request. */
export interface FileMetadata {
  /** On the hub itself, the sha256 of a large file or the git hash of a small one; a mirror may send anything. */
  readonly etag: string;
  /** Bytes, if known. */
  readonly size: number | undefined;
}

/** Options of requests about a revision. */
export interface LookUpOptions {
  readonly signal?: AbortSignal | undefined;
  readonly retries?: number | undefined;
}

/** A file of a listing; undefined if its hashes are malformed. */
export function listedFile(name: string, size: unknown, gitHash: unknown, sha256: unknown): RepositoryFile | undefined {
  const none = (hash: unknown) => hash === undefined || hash === null;
  if (!none(gitHash) && !(typeof gitHash === "string" && isGitHash(gitHash))) return undefined;
  if (!none(sha256) && !(typeof sha256 === "string" && isSha256(sha256))) return undefined;
  return { name, size: Number(size), gitHash: gitHash ?? undefined, sha256: sha256 ?? undefined };
}

const MAX_FILES = 100_000;
const MAX_LISTING_REQUESTS = 1_000;

/** One repository of the hub over its HTTP interface. */
export class HubClient {
  readonly http: HubHttp;
  readonly repository: Repository;
  readonly #settings: HubSettings;

  constructor(repository: Repository, settings: HubSettings, network: NetworkOptions, env: Environment) {
    this.repository = repository;
    this.#settings = settings;
    this.http = new HubHttp(settings, network, env);
  }

  async close(): Promise<void> {
    await this.http.close();
  }

  /**
   * Resolves a branch, tag or pull request to its commit.
   *
   * @throws {@link HubError}
   */
  async commitOf(revision: string, options: LookUpOptions = {}): Promise<string> {
    const { modelInfo, datasetInfo } = await import("@huggingface/hub");
    const params = {
      name: this.repository.id,
      revision,
      hubUrl: this.#settings.endpoint,
      fetch: this.#fetch(options, revision),
      additionalFields: ["sha" as const],
    };
    const { sha } = await this.#understood(() =>
      this.repository.type === "model" ? modelInfo(params) : datasetInfo(params),
    );
    // It becomes a folder name.
    if (typeof sha !== "string" || !isCommit(sha))
      throw new HubError("refused", `${this.#page}: the hub names no commit for revision ${JSON.stringify(revision)}`);
    return sha;
  }

  /**
   * Every file of a commit.
   *
   * @throws {@link HubError}
   */
  async files(commit: string, options: LookUpOptions = {}): Promise<RepositoryFile[]> {
    const { listFiles } = await import("@huggingface/hub");
    const { type, id: name } = this.repository;
    const files: RepositoryFile[] = [];
    const fetch = this.#fetch(options, commit, MAX_LISTING_REQUESTS);
    const params = { repo: { type, name }, revision: commit, recursive: true, hubUrl: this.#settings.endpoint, fetch };
    await this.#understood(async () => {
      for await (const entry of listFiles(params)) {
        if (entry.type !== "file") continue;
        const file = listedFile(String(entry.path), entry.lfs?.size ?? entry.size, entry.oid, entry.lfs?.oid);
        if (file === undefined)
          throw new HubError(
            "refused",
            `${this.#page}: the listing has no usable hash of ${JSON.stringify(String(entry.path))}`,
          );
        files.push(file);
        if (files.length > MAX_FILES) throw new HubError("refused", `${this.#page}: has more than ${MAX_FILES} files`);
      }
    });
    return files;
  }

  /**
   * Metadata of a file; throws if it is not accessible.
   *
   * @throws {@link HubError}
   */
  async metadata(commit: string, file: string, signal?: AbortSignal): Promise<FileMetadata> {
    const url = new URL(fileUrl(this.#settings.endpoint, this.repository, commit, file));
    const headers = { "accept-encoding": "identity" };
    const answer = await this.http.read(url, { method: "HEAD", headers, signal, within: (to) => this.http.isHub(to) });
    if (answer.status >= 400) throw this.#failure(answer, commit, file);
    const etag = /^(?:W\/)?"?([^"]*)"?$/.exec(linkedHeader(answer, "etag") ?? "")?.[1];
    // It may become a file name.
    if (etag === undefined || !/^\w[\w.-]{0,199}$/.test(etag))
      throw new HubError("refused", `${displayUrl(url)}: the answer has no usable ETag`);
    const redirected = answer.status >= 300;
    const size = redirected ? answer.headers.get("x-linked-size") : linkedHeader(answer, "size");
    return { etag, size: size !== null && /^\d+$/.test(size) ? Number(size) : undefined };
  }

  /**
   * Downloads a file, following redirects to the hub's storage.
   *
   * @throws {@link HubError}, `ERR_IO`, `ERR_ABORTED`
   */
  async download(commit: string, file: string, to: FileDownload): Promise<void> {
    const url = new URL(fileUrl(this.#settings.endpoint, this.repository, commit, file));
    try {
      await downloadFile(this.http.client, url, to);
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      const { problem, answer, message } = error;
      if (problem === "status" && answer) throw this.#failure(answer, commit, file);
      const what = `${this.repository.id}: ${JSON.stringify(file)}: what the hub sends`;
      if (problem === "size") throw new HubError("refused", `${what} is more than the ${to.size} bytes that it states`);
      if (problem === "content")
        throw new HubError("refused", `${what} does not have the hash that it states: ${message}`);
      throw hubFailure(error);
    }
  }

  get #page(): string {
    return repositoryPage(this.#settings.endpoint, this.repository);
  }

  /** `fetch` for the hub's own client, with tokens, retries and this package's errors. */
  #fetch(options: LookUpOptions, revision: string, atMost = 10): typeof globalThis.fetch {
    let requests = 0;
    const http = async (address: string, init?: { headers?: Record<string, string> }) => {
      const url = new URL(address);
      if (++requests > atMost) throw new HubError("refused", `${this.#page}: the listing of its files does not end`);
      // The URL of the next page comes from the previous response.
      if (!this.http.isHub(url))
        throw new HubError(
          "refused",
          `${this.#page}: the listing of its files goes on at another address than the hub's`,
        );
      const answer = await this.http.read(url, { ...options, headers: init?.headers });
      if (answer.status >= 300) throw this.#failure(answer, revision);
      return toResponse(answer);
    };
    return http as unknown as typeof globalThis.fetch;
  }

  /** Converts errors of the hub's own client about malformed responses to this package's. */
  async #understood<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof InstructPix2PixError) throw error;
      throw new HubError(
        "refused",
        `${this.#page}: the hub's answer is not understood (${this.http.clean(String(error))})`,
      );
    }
  }

  #failure({ url, status, headers }: Answer, revision: string, file?: string): HubError {
    const code = headers.get("x-error-code");
    const page = this.#page;
    const withToken = this.#settings.token !== undefined;
    const said = headers.get("x-error-message");
    const quoted = said ? `: ${this.http.clean(said)}` : "";

    if (code === "GatedRepo")
      return new HubError(
        "gated",
        `${page} is gated: ask for access on that page, then set HF_TOKEN to a token of that account${
          withToken ? " (the one given has no access)" : ""
        }`,
      );
    if (code === "RevisionNotFound")
      return new HubError("no-revision", `${page} has no revision ${JSON.stringify(revision)}`);
    if (code === "EntryNotFound")
      return new HubError("no-file", `${page} has no file ${JSON.stringify(file)} at revision ${revision}`);
    if (code === "RepoNotFound" || status === 401 || status === 404) {
      if (status === 401 && withToken && code !== "RepoNotFound")
        return new HubError("no-repository", `${page}: the hub does not accept the access token (401${quoted})`);
      const hint = withToken
        ? "check its name and whether the access token may read it"
        : "check its name, and for a private or gated one set HF_TOKEN";
      return new HubError(
        "no-repository",
        `${page}: no such ${this.repository.type}, or no access (${status}); ${hint}`,
      );
    }
    if (status === 403)
      return new HubError(
        "no-repository",
        `${page}: access denied (403${quoted}); ${withToken ? "the access token does not suffice" : "set HF_TOKEN"}`,
      );
    return new HubError("refused", `${displayUrl(url)}: the hub answered ${status}${quoted}`);
  }
}

/** The header of the linked file if present, else of the response itself. */
function linkedHeader({ headers }: Answer, what: "etag" | "size"): string | null {
  return headers.get(`x-linked-${what}`) ?? headers.get(what === "etag" ? "etag" : "content-length");
}
