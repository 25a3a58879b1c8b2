import type { Hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { ioError } from "../files/io-error.js";
import { hashFile } from "../files/sha256.js";
import { writeFully } from "../files/whole-io.js";
import type { Answer } from "./answer.js";
import { assertLasting, type HttpClient } from "./http-client.js";
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
  const transfer = async () => {
    // Not truncated: should two processes get here, both write the same bytes to the same offsets.
    const output = await open(partial, constants.O_RDWR | constants.O_CREAT, 0o666);
    return await new Transfer(client, url, download, output).run().finally(() => output.close());
  };
  try {
    await mkdir(dirname(target), { recursive: true });
    let { resumed, found } = await transfer();
    if (found !== digest?.hex && resumed) {
      // What was kept may be of another version of the file, or from a crash during a write.
      await rm(partial, { force: true });
      ({ found } = await transfer());
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

  /** Receives the file; returns its hash, and whether it was taken up from an earlier call. */
  async run(): Promise<{ found: string | undefined; resumed: boolean }> {
    const { partial, size, signal } = this.#download;
    const kept = await this.#output.stat();
    if (kept.size > this.#most) await this.#output.truncate(0);
    else this.#done = this.#hash ? await hashFile(partial, this.#hash, signal) : kept.size;
    const resumed = this.#done > 0;
    let furthest = this.#done;
    for (let failures = 0; this.#done !== size; )
      try {
        await this.#receive();
        break;
      } catch (error) {
        failures = this.#done > furthest ? 1 : failures + 1;
        furthest = Math.max(furthest, this.#done);
        await this.#client.pauseAfter(error, failures, signal);
      }
    // An earlier attempt, at a longer version, may have come further.
    await this.#output.truncate(this.#done);
    await this.#output.sync();
    return { found: this.#hash?.digest("hex"), resumed };
  }

  /** Receives what one connection yields; returns if the file is complete. */
  async #receive(): Promise<void> {
    const { size, signal, onProgress } = this.#download;
    const range = this.#done > 0 && { range: `bytes=${this.#done}-`, ...(this.#etag && { "if-range": this.#etag }) };
    const answer = await this.#client.open(this.#url, { headers: { "accept-encoding": "identity", ...range }, signal });
    const tooLarge = () => new HttpError("size", answer, `it has more bytes than the limit of ${this.#most}`);
    try {
      if (this.#isComplete(answer)) return;
      const total = answer.length === undefined ? size : this.#done + answer.length;
      if (total !== undefined && total > this.#most) throw tooLarge();
      onProgress?.(this.#done, total);
      for await (const piece of answer.pieces()) {
        if (this.#done + piece.length > this.#most) throw tooLarge();
        await writeFully(this.#output, piece, this.#done);
        this.#hash?.update(piece);
        this.#done += piece.length;
        onProgress?.(this.#done, total);
      }
      const end = size ?? total ?? 0;
      if (this.#done < end)
        throw new HttpError("unreachable", answer.url, `the connection ended at byte ${this.#done} of ${end}`);
    } finally {
      answer.discard();
    }
  }

  /** Whether nothing more is to come; otherwise the answer's body is what is missing of the file. */
  #isComplete(answer: Answer): boolean {
    const { status, headers } = answer;
    const { size, digest } = this.#download;
    const range = headers.get("content-range") ?? "";
    assertLasting(answer);
    if (status === 416 && size === undefined && range === `bytes */${this.#done}`) return true;
    if (status !== 200 && status !== 206 && status !== 416)
      throw new HttpError("status", answer, `the server answered ${status}`);
    const etag = digest ? undefined : /^"[^"]*"$/.exec(headers.get("etag") ?? "")?.[0];
    const fits = range.startsWith(`bytes ${this.#done}-`) && (this.#etag ?? etag) === etag;
    if (status === 200 || !fits) this.#restart();
    if (status !== 200 && !fits)
      throw new HttpError("unreachable", answer.url, "the server's answers to a resumed download disagree");
    this.#etag = etag;
    return false;
  }

  #restart(): void {
    this.#done = 0;
    this.#hash = this.#download.digest?.start();
    this.#etag = undefined;
  }
}
