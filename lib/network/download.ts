import type { Hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { throwIfAborted } from "../core/errors.js";
import { ioError } from "../files/io-error.js";
import { hashFile } from "../files/sha256.js";
import { writeFully } from "../files/whole-io.js";
import type { Answer } from "./answer.js";
import { isPassing } from "./failure.js";
import type { HttpClient } from "./http-client.js";
import { HttpError } from "./http-error.js";

/** The hash of an expected content. */
export interface Digest {
  /** For messages. */
  readonly name: string;
  /** Lower-case hexadecimal. */
  readonly hex: string;
  /** A hash to which the content is still to be fed. */
  start(): Hash;
}

export interface FileDownload {
  readonly target: string;
  /** The file that is written, and resumed by a later call; renamed to the target when it is complete. */
  readonly partial: string;
  /** Bytes, if known. */
  readonly size?: number;
  /** The most bytes it can have; reading stops beyond it. Default `size`. */
  readonly maxBytes?: number;
  readonly digest?: Digest | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes so far, and the total if known. */
  readonly onProgress?: ((done: number, total: number | undefined) => void) | undefined;
}

/**
 * Downloads a file and checks its hash. A connection that breaks is resumed, now or by the next call, as long as the
 * server still has the same version of the file.
 *
 * @throws {@link HttpError}: "unreachable" after too many attempts without a byte, "status", "size" or "content" if it
 * is not the expected file, of which nothing is kept then; `ERR_IO`, `ERR_ABORTED`
 */
export async function downloadFile(client: HttpClient, url: URL, download: FileDownload): Promise<void> {
  const { target, partial, digest } = download;
  try {
    await mkdir(dirname(target), { recursive: true });
    let { resumed, found } = await transfer(client, url, download);
    if (found !== digest?.hex && resumed) {
      // What was kept may be of another version of the file, or from a crash during a write.
      await rm(partial, { force: true });
      ({ found } = await transfer(client, url, download));
    }
    if (found !== digest?.hex)
      throw new HttpError("content", url, `its ${digest?.name} is ${found}, expected ${digest?.hex}`);
    await rename(partial, target);
  } catch (error) {
    if (error instanceof HttpError && (error.problem === "size" || error.problem === "content"))
      await rm(partial, { force: true });
    throw ioError("write", target, error);
  }
}

async function transfer(client: HttpClient, url: URL, download: FileDownload) {
  const { partial } = download;
  // Not truncated: should two processes get here, both write the same bytes to the same offsets.
  const output = await open(partial, constants.O_RDWR | constants.O_CREAT, 0o666);
  try {
    const running = new Transfer(client, url, download, output);
    const resumed = await running.resume();
    await running.receiveAll();
    return { resumed, found: running.found };
  } finally {
    await output.close();
  }
}

class Transfer {
  readonly #client: HttpClient;
  readonly #url: URL;
  readonly #download: FileDownload;
  readonly #output: FileHandle;
  readonly #most: number;
  #hash: Hash | undefined;
  #done = 0;
  /**
   * The version of the file that is being received, as the server names it. Only where no hash is known: several servers
   * of one name may name the same content differently.
   */
  #etag: string | undefined;

  constructor(client: HttpClient, url: URL, download: FileDownload, output: FileHandle) {
    this.#client = client;
    this.#url = url;
    this.#download = download;
    this.#output = output;
    this.#most = download.maxBytes ?? download.size ?? Number.POSITIVE_INFINITY;
    this.#hash = download.digest?.start();
  }

  /** The hash of what was received. */
  get found(): string | undefined {
    return this.#hash?.digest("hex");
  }

  /** Takes up what an earlier call has left; returns whether there was anything. */
  async resume(): Promise<boolean> {
    const { partial, signal } = this.#download;
    const { size } = await this.#output.stat();
    if (size > this.#most) await this.#output.truncate(0);
    else if (this.#hash) this.#done = await hashFile(partial, this.#hash, signal);
    else this.#done = size;
    return this.#done > 0;
  }

  async receiveAll(): Promise<void> {
    const { size, signal } = this.#download;
    let furthest = this.#done;
    for (let failures = 0; this.#done !== size; ) {
      throwIfAborted(signal);
      const failure = await this.#attempt();
      if (!failure) break;
      failures = this.#done > furthest ? 1 : failures + 1;
      furthest = Math.max(furthest, this.#done);
      await this.#client.pauseAfter(failure, failures, signal);
    }
    // An earlier attempt, at a longer version, may have come further.
    await this.#output.truncate(this.#done);
    await this.#output.sync();
  }

  /** Receives what one connection yields; returns why another one is needed. */
  async #attempt(): Promise<HttpError | undefined> {
    try {
      const range = this.#done > 0 && { range: `bytes=${this.#done}-`, ...(this.#etag && { "if-range": this.#etag }) };
      const headers = { "accept-encoding": "identity", ...range };
      const answer = await this.#client.open(this.#url, { headers, signal: this.#download.signal });
      const failure = this.#examine(answer);
      if (failure) {
        answer.discard();
        return failure === "complete" ? undefined : failure;
      }
      return await this.#receive(answer);
    } catch (error) {
      throwIfAborted(this.#download.signal);
      if (error instanceof HttpError && error.problem === "unreachable") return error;
      throw error;
    }
  }

  /** Decides whether an answer's body is what is missing of the file. */
  #examine(answer: Answer): HttpError | "complete" | undefined {
    const { status, headers, url } = answer;
    const { size, digest } = this.#download;
    const range = headers.get("content-range") ?? "";
    if (isPassing(status)) return HttpError.passing(answer);
    if (status === 416 && size === undefined && range === `bytes */${this.#done}`) return "complete";
    if (status !== 200 && status !== 206 && status !== 416)
      throw new HttpError("status", url, `the server answered ${status}`, { answer });
    const etag = digest ? undefined : /^"[^"]*"$/.exec(headers.get("etag") ?? "")?.[0];
    const fits = range.startsWith(`bytes ${this.#done}-`) && (!this.#etag || !etag || etag === this.#etag);
    if (status === 200 || !fits) this.#restart();
    if (status !== 200 && !fits)
      return new HttpError("unreachable", url, "the server's answers to a resumed download disagree");
    this.#etag = etag ?? this.#etag;
    return undefined;
  }

  #restart(): void {
    if (this.#done === 0) return;
    this.#done = 0;
    this.#hash = this.#download.digest?.start();
    this.#etag = undefined;
  }

  async #receive(answer: Answer): Promise<HttpError | undefined> {
    const { size, onProgress } = this.#download;
    const total = answer.length === undefined ? size : this.#done + answer.length;
    const expected = size ?? total;
    if (total !== undefined && total > this.#most) throw this.#tooLarge(answer);
    onProgress?.(this.#done, total);
    for await (const chunk of answer.content()) {
      if (this.#done + chunk.length > this.#most) throw this.#tooLarge(answer);
      await writeFully(this.#output, chunk, this.#done);
      this.#hash?.update(chunk);
      this.#done += chunk.length;
      onProgress?.(this.#done, total);
    }
    if (expected === undefined || this.#done >= expected) return undefined;
    return new HttpError("unreachable", answer.url, `the connection ended at byte ${this.#done} of ${expected}`);
  }

  #tooLarge(answer: Answer): HttpError {
    answer.discard();
    return new HttpError("size", answer.url, `it has more bytes than the limit of ${this.#most}`);
  }
}
