import { createHash } from "node:crypto";
import { InstructPix2PixError } from "../../core/errors.js";
import { ioError } from "../../files/io-error.js";
import { hashFile } from "../../files/sha256.js";
import { downloadFile } from "../../network/download.js";
import { failureMessage } from "../../network/failure.js";
import { HttpClient } from "../../network/http-client.js";
import { HttpError } from "../../network/http-error.js";
import { displayUrl } from "../../network/url.js";
import type { Environment } from "../platform.js";
import { SourceUnavailable } from "./progress.js";

export interface DownloadOptions {
  /** Lower-case hexadecimal. */
  sha256: string;
  /** The maximal size of the file in bytes; reading stops beyond it. */
  maxBytes: number;
  /** Target path; the partial file `<target>.partial` is resumed by a later call. */
  target: string;
  signal?: AbortSignal;
  /** Bytes so far, and the total if known. */
  onProgress?: (done: number, total: number | undefined) => void;
  /** For `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, in either case; default `process.env`. */
  env?: Environment;
  /** Milliseconds without a byte until a connection is given up; default 30000. */
  idleTimeout?: number;
  /** Reconnections without any progress before giving up; default 3. */
  retries?: number;
  /** Milliseconds before the first reconnection, doubled with each without progress; default 500. */
  retryDelay?: number;
}

/**
 * Downloads a file over HTTP(S) and checks its sha256. A broken connection is resumed, now or by the next call; a host
 * that cannot be reached at all is given up.
 *
 * @throws {SourceUnavailable} if the host cannot be reached or does not have the file.
 * @throws `ERR_DOWNLOAD` if the content is not the expected one or larger than it can be, `ERR_ABORTED`, `ERR_IO` if it cannot be written.
 */
export async function download(url: string, options: DownloadOptions): Promise<void> {
  const { target, sha256: hex, maxBytes, signal, onProgress, env } = options;
  const { idleTimeout = 30_000, retries = 3, retryDelay: delay = 500 } = options;
  if (!URL.canParse(url)) throw new SourceUnavailable(`${url}: is not a URL`);
  const address = new URL(url);
  const shown = displayUrl(address);
  const client = new HttpClient({ env, connectTimeout: 5_000, idleTimeout, retry: { retries, unseen: 0, delay } });
  try {
    const digest = { name: "sha256", hex, start: () => createHash("sha256") };
    const partial = `${target}.partial`;
    await downloadFile(client, address, { target, partial, maxBytes, digest, signal, onProgress });
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    if (error.problem === "size") throw tooLarge(displayUrl(error.url), maxBytes);
    if (error.problem === "content") throw notExpected(shown, error.message);
    throw new SourceUnavailable(`${shown}: ${failureMessage(error)}`);
  } finally {
    await client.close();
  }
}

/** The error for content that is not the pinned one. */
export function wrongContent(where: string, expected: string, found: string): InstructPix2PixError {
  return notExpected(where, `its sha256 is ${found}, expected ${expected}`);
}

/** The error for a file that is larger than the pinned one can be. */
export function tooLarge(where: string, maxBytes: number): InstructPix2PixError {
  return notExpected(where, `it has more than the ${maxBytes} bytes that it can have`);
}

function notExpected(where: string, why: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_DOWNLOAD", `${where} is not the expected file: ${why}`);
}

/** The lower-case hexadecimal sha256 of a file. */
export async function sha256Of(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  try {
    await hashFile(path, hash, signal);
  } catch (error) {
    throw ioError("read", path, error);
  }
  return hash.digest("hex");
}
