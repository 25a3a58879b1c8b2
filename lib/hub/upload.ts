import type { Dispatcher } from "undici";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { allInOrder } from "../core/settled.js";
import { undici } from "../network/undici.js";
import type { Environment } from "../runtime/platform.js";
import { HubError } from "./errors.js";
import { assertFileName } from "./file-names.js";
import type { NetworkOptions } from "./http.js";
import { DEFAULT_REVISION, isRepositoryId, repositoryPage } from "./repository.js";
import { hubSettings } from "./settings.js";
import { FileContent, type UploadFile } from "./upload-file.js";
import { HubRefusal, UploadHttp } from "./upload-http.js";
import { reportTo, type UploadProgress } from "./upload-progress.js";
import { assertBatchAccepted, UploadWatch } from "./upload-watch.js";

export type { UploadFile } from "./upload-file.js";
export type { UploadProgress } from "./upload-progress.js";

export interface HubUploaderOptions extends NetworkOptions {
  /** Default: as for downloads, `$HF_TOKEN` or the file that `hf auth login` writes. */
  token?: string | undefined;
}

export interface UploadOptions {
  /** The commit's subject line. */
  title: string;
  onProgress?: ((progress: UploadProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** The commit of an upload. */
export interface UploadedCommit {
  readonly commit: string;
  /** The repository's page. */
  readonly url: string;
}

interface UploadInProgress {
  readonly page: string;
  readonly watch: UploadWatch;
  onSent(file: string, bytes: number): void;
}

/** The hub's client requires a token; the real one is only added when a request is sent. */
const PLACEHOLDER_TOKEN = "hf_";
/** Signed storage URLs expire: when one is refused, new ones are requested. */
const ATTEMPTS = 3;
const NOT_ACCEPTED = "the hub does not accept the access token";

/** Uploads to model repositories of the hub with an access token. */
export class HubUploader {
  readonly #http: UploadHttp;
  readonly #endpoint: string;

  private constructor(http: UploadHttp) {
    this.#http = http;
    this.#endpoint = http.settings.endpoint;
  }

  /**
   * Sends no request yet.
   *
   * @throws `ERR_INVALID_ARGUMENT` if there is no token, or `HF_HUB_OFFLINE` is set
   */
  static async open(options: HubUploaderOptions = {}, env: Environment = process.env): Promise<HubUploader> {
    const settings = await hubSettings(options.token ? { token: options.token } : {}, env);
    if (settings.offline)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        "nothing can be uploaded while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set",
      );
    if (settings.token === undefined)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        "an upload needs an access token with write permission: give hub_token_file, set HF_TOKEN, or run hf auth login",
      );
    return new HubUploader(new UploadHttp(settings, options, env));
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  /** The web page of a repository. */
  page(id: string): string {
    return repositoryPage(this.#endpoint, { type: "model", id });
  }

  /**
   * The user name of the token's account, the default owner of repositories.
   *
   * @throws {@link HubError} if the token is not accepted or may only read
   */
  async account(signal?: AbortSignal): Promise<string> {
    const { whoAmI } = await import("@huggingface/hub");
    const { name, auth } = await this.#asking(this.#endpoint, () => whoAmI(this.#parameters(signal)), {
      401: NOT_ACCEPTED,
    });
    if (auth?.accessToken?.role === "read")
      throw new HubError(
        "refused",
        `${this.#endpoint}: the access token has read permission only; an upload needs write permission`,
      );
    if (typeof name !== "string" || !isRepositoryId(name))
      throw new HubError("refused", `${this.#endpoint}: the hub did not return the access token's user`);
    return name;
  }

  /**
   * Creates a model repository if it does not exist, and checks write access.
   *
   * @param id `owner/name`
   * @throws {@link HubError}
   */
  async createRepository(id: string, signal?: AbortSignal): Promise<void> {
    const { createRepo } = await import("@huggingface/hub");
    const page = this.page(id);
    let refusal: HubRefusal | undefined;
    await this.#asking(page, () => createRepo({ ...this.#parameters(signal), repo: model(id) }), {
      401: NOT_ACCEPTED,
    }).catch((error: unknown) => {
      // 409: it exists. 403: possibly a token restricted to this repository.
      if (!(error instanceof HubRefusal) || (error.status !== 409 && error.status !== 403)) throw error;
      refusal = error.status === 403 ? error : undefined;
    });
    await this.#assertWritable(id, refusal, signal);
  }

  /** Requests an upload URL for a large file, which requires write access. */
  async #assertWritable(id: string, creation: HubRefusal | undefined, signal: AbortSignal | undefined): Promise<void> {
    const page = this.page(id);
    const json = "application/vnd.git-lfs+json";
    const body = JSON.stringify({
      operation: "upload",
      transfers: ["basic"],
      hash_algo: "sha_256",
      objects: [{ oid: "0".repeat(64), size: 1 }],
    });
    const headers = { accept: json, "content-type": json };
    try {
      await this.#http.request(`${page}.git/info/lfs/objects/batch`, { method: "POST", headers, body, signal });
    } catch (error) {
      if (!(error instanceof HubRefusal)) throw error;
      const { status, quoted } = error;
      if (status === 404 && creation)
        throw new HubError("refused", `${page}: the access token may not create it (403${creation.quoted})`);
      if ([401, 403, 404].includes(status))
        throw new HubError("refused", `${page}: the access token may not write to it (${status}${quoted})`);
      throw error;
    }
  }

  /**
   * Adds files to a repository in one commit on its main branch, in place of those that have the same names; others stay.
   * Large files that the hub already has, also from an interrupted upload, are not sent again.
   *
   * @throws {@link HubError}, `ERR_IO`, `ERR_ABORTED`
   */
  async upload(id: string, files: readonly UploadFile[], options: UploadOptions): Promise<UploadedCommit> {
    for (const { name } of files) assertFileName(name, id);
    for (let attempt = 1; ; attempt++) {
      try {
        return { commit: await this.#attempt(id, files, options), url: this.page(id) };
      } catch (error) {
        const mayHelp = error instanceof HubRefusal && !error.byHub;
        if (!mayHelp || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #attempt(id: string, files: readonly UploadFile[], options: UploadOptions): Promise<string> {
    const { commit } = await import("@huggingface/hub");
    const { signal, title } = options;
    throwIfAborted(signal);
    const stop = new AbortController();
    const watch = new UploadWatch(this.page(id), signal);
    try {
      const contents = await allInOrder(files.map(({ path }) => FileContent.open(path, watch)));
      const progress = reportTo(options.onProgress, files, contents);
      const parameters = {
        ...this.#parameters(stop.signal, { watch, onSent: progress.sent, page: this.page(id) }),
        repo: model(id),
        branch: DEFAULT_REVISION,
        title,
        operations: files.map(({ name }, i) => ({
          operation: "addOrUpdate" as const,
          path: name,
          content: contents[i]!,
        })),
        abortSignal: stop.signal,
        // Disabled, since it hashes chunks on the event loop; the hub also accepts large files by git LFS.
        useXet: false,
      };
      const done = await this.#asking(this.page(id), () => Promise.race([commit(parameters), watch.failure]), {
        401: NOT_ACCEPTED,
        403: "the access token may not write to it",
      });
      const hash: unknown = done?.commit.oid;
      if (typeof hash !== "string" || !/^[0-9a-f]{40,64}$/.test(hash))
        throw new HubError("refused", `${this.page(id)}: the hub returned no commit for the upload`);
      progress.finish();
      return hash;
    } finally {
      watch.end();
      stop.abort();
    }
  }

  /** Common parameters of the hub client's functions. */
  #parameters(signal: AbortSignal | undefined, upload?: UploadInProgress) {
    const http = async (address: string, init: RequestInit & { progressHint?: { path?: string } } = {}) => {
      const headers = new (undici().Headers)(init.headers as Record<string, string>);
      const authorized = headers.has("authorization");
      headers.delete("authorization");
      const file = init.progressHint?.path;
      const request = {
        method: (init.method ?? "GET") as Dispatcher.HttpMethod,
        headers,
        body: (init.body ?? undefined) as string | FileContent | undefined,
        signal: init.signal ?? signal,
        authorized,
        ...(file !== undefined && upload && { onSent: (bytes: number) => upload.onSent(file, bytes) }),
      };
      if (!upload) return await this.#http.request(address, request);
      return await upload.watch.request(async () => {
        const response = await this.#http.request(address, request);
        if (address.endsWith("/info/lfs/objects/batch"))
          await assertBatchAccepted(response, upload.page, (words) => this.#http.clean(words));
        return response;
      });
    };
    return {
      hubUrl: this.#endpoint,
      accessToken: PLACEHOLDER_TOKEN,
      fetch: http as unknown as typeof globalThis.fetch,
    };
  }

  /**
   * Converts errors of the hub's client to this package's.
   *
   * @param explanations of the hub's error responses, by status
   */
  async #asking<T>(what: string, work: () => Promise<T>, explanations: Record<number, string>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof HubRefusal && error.byHub && explanations[error.status])
        throw new HubRefusal(`${what}: ${explanations[error.status]} (${error.status}${error.quoted})`, error);
      if (error instanceof InstructPix2PixError) throw error;
      // Its message may quote signed addresses.
      throw new HubError("refused", `${what}: the hub's answer is not understood`);
    }
  }
}

/** A repository in the form of the hub's client. */
function model(id: string) {
  return { type: "model" as const, name: id };
}
