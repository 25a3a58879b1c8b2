import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Response } from "undici";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { sleep } from "../core/sleep.js";
import { withLock } from "../files/lock.js";
import { failureName } from "../network/failure.js";
import type { RepositoryCache } from "./cache.js";
import type { HubClient } from "./client.js";
import { type ExpectedContent, hasContent } from "./content.js";
import { HubError } from "./errors.js";

/** A download into the cache. */
export interface BlobDownload {
  readonly client: HubClient;
  readonly cache: RepositoryCache;
  readonly commit: string;
  /** The file's name in the repository. */
  readonly file: string;
  readonly content: ExpectedContent;
  readonly signal?: AbortSignal | undefined;
  /** Called with the bytes downloaded so far. */
  readonly onBytes: (done: number) => void;
}

/**
 * Downloads a file's content to its blob unless it is there, one process at a time. Interrupted downloads are resumed,
 * now or by a later call. New and existing content is checked against the repository's listing.
 *
 * @throws {@link HubError}, `ERR_ABORTED`
 */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const blob = download.cache.blob(download.content.name);
  try {
    await downloadTo(blob, download);
  } catch (error) {
    if (error instanceof InstructPix2PixError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "ENOSPC" ? "the disk is full" : (code ?? message);
    throw new InstructPix2PixError("ERR_IO", `${blob}: cannot be written (${why})`, { cause: error });
  }
}

async function downloadTo(blob: string, download: BlobDownload): Promise<void> {
  const { cache, content, signal } = download;
  const { size, name } = content;
  if (!Number.isSafeInteger(size) || size < 0)
    throw new HubError("refused", `${nameOf(download)}: the hub does not say how large it is`);
  if (await hasContent(blob, content, signal)) return;
  await mkdir(dirname(blob), { recursive: true });
  await withLock(cache.lock(name), { signal, interval: 200 }, async () => {
    if (await hasContent(blob, content, signal)) return;
    const partial = `${blob}.incomplete`;
    const resumed = await receiveAll(download, partial, size);
    if (!(await hasContent(partial, content, signal))) {
      await rm(partial, { force: true });
      // The existing partial file may belong to another file or to a crash.
      if (resumed) await receiveAll(download, partial, size);
      if (!resumed || !(await hasContent(partial, content, signal))) {
        await rm(partial, { force: true });
        throw new HubError(
          "refused",
          `${nameOf(download)}: what the hub sends does not have the hash that it states (${content.hash?.hex})`,
        );
      }
    }
    await rename(partial, blob);
  });
}

function nameOf({ client, file }: BlobDownload): string {
  return `${client.repository.id}: ${JSON.stringify(file)}`;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

/** Downloads until the file is complete. Returns whether a partial file was resumed. */
async function receiveAll(download: BlobDownload, partial: string, size: number): Promise<boolean> {
  const { client, commit, file, signal } = download;
  let start = (await sizeOf(partial)) ?? 0;
  if (start > size) {
    await rm(partial, { force: true });
    start = 0;
  }
  const resumed = start > 0;
  // Never truncated: if two processes get here in spite of the lock, both write the same bytes to the same offsets.
  const output = await open(partial, constants.O_RDWR | constants.O_CREAT, 0o666);
  try {
    download.onBytes(start);
    let done = start;
    let furthest = start;
    for (let failures = 0; done < size; ) {
      const response = await client.open(commit, file, done, signal);
      const outcome = await receive(download, response, output, done, size);
      done = outcome.done;
      if (done === size) break;
      failures = done > furthest ? 0 : failures + 1;
      furthest = Math.max(furthest, done);
      if (failures > client.http.retries)
        throw new HubError("unreachable", `${nameOf(download)}: ${outcome.broken} at byte ${done} of ${size}`);
      await sleep(client.http.pause(failures), signal);
    }
    await output.sync();
  } finally {
    await output.close();
  }
  return resumed;
}

/** Writes the bytes of one response. */
async function receive(
  download: BlobDownload,
  response: Response,
  output: FileHandle,
  offset: number,
  size: number,
): Promise<{ done: number; broken: string }> {
  const { signal } = download;
  // A server without range support, or with a shorter file, restarts from the beginning.
  const begins = response.headers.get("content-range")?.startsWith(`bytes ${offset}-`) ? offset : 0;
  if (response.status === 416 || (response.status === 206 && begins !== offset)) {
    await response.body?.cancel();
    return { done: 0, broken: "the answers to a resumed download disagree" };
  }
  let done = response.status === 206 ? offset : 0;
  const body = response.body?.[Symbol.asyncIterator]();
  try {
    while (body) {
      const next = await body.next().catch((error: unknown) => ({ error }));
      throwIfAborted(signal);
      if ("error" in next) return { done, broken: `the connection broke (${failureName(next.error)})` };
      if (next.done) break;
      const chunk = next.value as Uint8Array;
      if (done + chunk.length > size)
        throw new HubError("refused", `${nameOf(download)}: the hub sends more than the ${size} bytes that it states`);
      for (let at = 0; at < chunk.length; )
        at += (await output.write(chunk, at, chunk.length - at, done + at)).bytesWritten;
      done += chunk.length;
      download.onBytes(done);
    }
  } finally {
    await response.body?.cancel().catch(() => {});
  }
  return { done, broken: "the connection ended" };
}
