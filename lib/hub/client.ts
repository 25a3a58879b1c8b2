import type { Headers as HeadersOf } from "undici";
import { Headers, type Response } from "undici";
import { InstructPix2PixError } from "../core/errors.js";
import type { Environment } from "../runtime/platform.js";
import { displayUrl, type NetworkOptions, withBody } from "./connection.js";
import { isGitHash, isSha256 } from "./content.js";
import { HubError } from "./errors.js";
import { HubHttp, type RequestOptions } from "./http.js";
import { fileUrl, isCommit, type Repository, repositoryPage } from "./repository.js";
import type { HubSettings } from "./settings.js";

/** A file as a repository's listing describes it. */
export interface RepositoryFile {
  readonly name: string;
  readonly size: number;
  /** Hash of the file as git stores it; for a large file that is only a pointer. Undefined where the listing has none. */
  readonly gitHash: string | undefined;
  /** Of the content of a large file. */
  readonly sha256: string | undefined;
}

/** Metadata of a file from a HEAD request. */
export interface FileMetadata {
  /** On the hub itself, the sha256 of a large file or the git hash of a small one; a mirror may send anything. */
  readonly etag: string;
  /** Bytes, if known. */
  readonly size: number | undefined;
}

/** Of requests about a revision. */
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
    const url = fileUrl(this.#settings.endpoint, this.repository, commit, file);
    const headers = new Headers({ "accept-encoding": "identity" });
    const response = await this.http.request(url, { method: "HEAD", headers, signal, stayOnHub: true });
    if (response.status >= 400) throw await this.#failure(response, commit, file);
    const etag = /^(?:W\/)?"?([^"]*)"?$/.exec(linkedHeader(response.headers, "etag") ?? "")?.[1];
    // It may become a file name.
    if (etag === undefined || !/^\w[\w.-]{0,199}$/.test(etag))
      throw new HubError("refused", `${displayUrl(new URL(url))}: the answer has no usable ETag`);
    const redirected = response.status >= 300;
    const size = redirected ? response.headers.get("x-linked-size") : linkedHeader(response.headers, "size");
    return { etag, size: size !== null && /^\d+$/.test(size) ? Number(size) : undefined };
  }

  /**
   * The content of a file from a byte on, following redirects to the hub's storage.
   *
   * @throws {@link HubError}
   */
  async open(commit: string, file: string, offset: number, signal?: AbortSignal): Promise<Response> {
    const url = fileUrl(this.#settings.endpoint, this.repository, commit, file);
    const headers = new Headers({ "accept-encoding": "identity" });
    if (offset > 0) headers.set("range", `bytes=${offset}-`);
    const response = await this.http.request(url, { headers, signal });
    if (response.status >= 300 && response.status !== 416) throw await this.#failure(response, commit, file);
    return response;
  }

  get #page(): string {
    return repositoryPage(this.#settings.endpoint, this.repository);
  }

  /** `fetch` for the hub's own client, with tokens, retries and this package's errors. */
  #fetch(options: RequestOptions, revision: string, atMost = 10): typeof globalThis.fetch {
    let requests = 0;
    const http = async (url: string | URL | Request, init?: RequestInit) => {
      if (++requests > atMost) throw new HubError("refused", `${this.#page}: the listing of its files does not end`);
      // The URL of the next page comes from the previous response.
      if (!this.http.isHub(new URL(String(url))))
        throw new HubError(
          "refused",
          `${this.#page}: the listing of its files goes on at another address than the hub's`,
        );
      const headers = new Headers((init?.headers ?? {}) as Record<string, string>);
      const response = await this.http.request(String(url), { ...options, headers });
      if (response.status >= 300) throw await this.#failure(response, revision);
      return await withBody(response, this.#page);
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

  async #failure(response: Response, revision: string, file?: string): Promise<HubError> {
    await response.body?.cancel().catch(() => {});
    const { status, headers } = response;
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
    return new HubError("refused", `${displayUrl(new URL(response.url || page))}: the hub answered ${status}${quoted}`);
  }
}

/** The header of the linked file if present, else of the response itself. */
function linkedHeader(headers: HeadersOf, what: "etag" | "size"): string | null {
  return headers.get(`x-linked-${what}`) ?? headers.get(what === "etag" ? "etag" : "content-length");
}
