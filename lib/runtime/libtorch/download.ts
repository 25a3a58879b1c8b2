import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { type Dispatcher, fetch, type Response } from "undici";
import { InstructPix2PixError, isInstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { sleep } from "../../core/sleep.js";
import { dispatcherFor } from "../../network/dispatcher.js";
import { failureMessage, isPassing } from "../../network/failure.js";
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
  /** Milliseconds until a host that does not answer is given up; default 5000. */
  connectTimeout?: number;
  /** Milliseconds without a byte until a connection is given up; default 30000. */
  idleTimeout?: number;
  /** Reconnections without any progress before giving up; default 3. */
  retries?: number;
  /** Milliseconds before the first reconnection, doubled with each without progress; default 500. */
  retryDelay?: number;
}

/** The result of one connection; `unreachable` is a failure before any response. */
type Outcome = "complete" | "restart" | { broken: string; unreachable?: boolean };

/**
 * Downloads a file over HTTP(S) and checks its sha256. A broken connection is resumed, now or by the next call.
 *
 * @throws {SourceUnavailable} if the host cannot be reached or does not have the file.
 * @throws `ERR_DOWNLOAD` if the content is not the expected one or larger than it can be, `ERR_ABORTED`, `ERR_IO` if it cannot be written.
 */
export async function download(url: string, options: DownloadOptions): Promise<void> {
  const { target, sha256, signal } = options;
  const partial = `${target}.partial`;
  await mkdir(dirname(target), { recursive: true });
  if ((await sizeOf(partial)) > options.maxBytes) await rm(partial, { force: true });
  const resumed = (await sizeOf(partial)) > 0;
  await transfer(url, partial, options).catch(async (error: unknown) => {
    // A partial file that is too large cannot be resumed.
    if (isInstructPix2PixError(error, "ERR_DOWNLOAD")) await rm(partial, { force: true });
    throw error;
  });
  throwIfAborted(signal);

  let found = await sha256Of(partial, signal);
  if (found !== sha256 && resumed) {
    // The partial file may be of another version of the file, or from a crash during a write.
    await rm(partial, { force: true });
    await transfer(url, partial, options);
    found = await sha256Of(partial, signal);
  }
  if (found !== sha256) {
    await rm(partial, { force: true });
    throw wrongContent(url, sha256, found);
  }
  await rename(partial, target);
}

/** The error for content that is not the pinned one. */
export function wrongContent(where: string, expected: string, found: string): InstructPix2PixError {
  return new InstructPix2PixError(
    "ERR_DOWNLOAD",
    `${where} is not the expected file: its sha256 is ${found}, expected ${expected}`,
  );
}

/** The lower-case hexadecimal sha256 of a file. */
export async function sha256Of(path: string, signal?: AbortSignal): Promise<string> {
  const hash: Hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal })) hash.update(chunk as Buffer);
  } catch (error) {
    throwIfAborted(signal);
    throw new InstructPix2PixError("ERR_IO", `${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  return hash.digest("hex");
}

async function transfer(url: string, partial: string, options: DownloadOptions): Promise<void> {
  const agent = agentFor(options);
  try {
    let failures = 0;
    let reached = false;
    for (;;) {
      const before = await sizeOf(partial);
      const outcome = await attempt(url, partial, before, agent, options);
      if (outcome === "complete") return;
      reached ||= (await sizeOf(partial)) !== before;
      if (outcome === "restart") {
        await rm(partial, { force: true });
        if (++failures > 1) throw new SourceUnavailable(`${url}: the server's answers to a resumed download disagree`);
        continue;
      }
      failures = (await sizeOf(partial)) > before ? 1 : failures + 1;
      // An unreachable host is given up; one that has served a part is retried.
      if ((outcome.unreachable && !reached) || failures > (options.retries ?? 3))
        throw new SourceUnavailable(`${url}: ${outcome.broken}`);
      await sleep((options.retryDelay ?? 500) * 2 ** (failures - 1), options.signal);
    }
  } finally {
    await agent.destroy();
  }
}

function agentFor({ env = process.env, connectTimeout = 5_000, idleTimeout = 30_000 }: DownloadOptions): Dispatcher {
  return dispatcherFor(env, {
    connect: { timeout: connectTimeout },
    headersTimeout: idleTimeout,
    bodyTimeout: idleTimeout,
  });
}

async function attempt(
  url: string,
  partial: string,
  offset: number,
  dispatcher: Dispatcher,
  options: DownloadOptions,
): Promise<Outcome> {
  let response: Response;
  try {
    response = await fetch(url, {
      dispatcher,
      signal: options.signal,
      headers: { "accept-encoding": "identity", ...(offset > 0 ? { range: `bytes=${offset}-` } : {}) },
    });
  } catch (error) {
    throwIfAborted(options.signal);
    return { broken: failureMessage(error), unreachable: true };
  }
  if (response.status === 416) {
    await response.body?.cancel();
    const total = /^bytes \*\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
    return Number(total) === offset ? "complete" : "restart";
  }
  if (response.status !== 200 && response.status !== 206) {
    await response.body?.cancel();
    if (isPassing(response.status)) return { broken: `the server answered ${response.status}` };
    throw new SourceUnavailable(`${url}: the server answered ${response.status}`);
  }
  if (response.status === 206 && !response.headers.get("content-range")?.startsWith(`bytes ${offset}-`)) {
    await response.body?.cancel();
    return "restart";
  }
  return receive(response, partial, response.status === 206 ? offset : 0, options);
}

async function receive(
  response: Response,
  partial: string,
  offset: number,
  options: DownloadOptions,
): Promise<Outcome> {
  const length = response.headers.get("content-length");
  const total = length === null ? undefined : offset + Number(length);
  const { maxBytes } = options;
  let done = offset;
  let file: FileHandle | undefined;
  try {
    if (total !== undefined && total > maxBytes) throw tooLarge(response.url.replace(/\?.*/s, ""), maxBytes);
    file = await open(partial, offset > 0 ? "r+" : "w");
    options.onProgress?.(done, total);
    const body = response.body?.[Symbol.asyncIterator]();
    while (body) {
      const next = await body.next().catch((error: unknown) => ({ error }));
      if ("error" in next) {
        throwIfAborted(options.signal);
        return { broken: failureMessage(next.error) };
      }
      if (next.done) break;
      const chunk = next.value as Uint8Array;
      if (done + chunk.length > maxBytes) throw tooLarge(response.url.replace(/\?.*/s, ""), maxBytes);
      // A write may be partial, for instance when the disk fills up.
      for (let at = 0; at < chunk.length; )
        at += (await file.write(chunk, at, chunk.length - at, done + at)).bytesWritten;
      done += chunk.length;
      options.onProgress?.(done, total);
    }
  } catch (error) {
    if (error instanceof InstructPix2PixError) throw error;
    throw new InstructPix2PixError("ERR_IO", `${partial} cannot be written: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    await file?.close();
    await response.body?.cancel().catch(() => {});
  }
  return total !== undefined && done < total
    ? { broken: `the connection ended at byte ${done} of ${total}` }
    : "complete";
}

/** The error for a file that is larger than the pinned one can be. */
export function tooLarge(where: string, maxBytes: number): InstructPix2PixError {
  return new InstructPix2PixError(
    "ERR_DOWNLOAD",
    `${where} is not the expected file: it has more than the ${maxBytes} bytes that it can have`,
  );
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  }
}
