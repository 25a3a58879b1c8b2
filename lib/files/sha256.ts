import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { throwIfAborted } from "../core/errors.js";
import type { Sha256 } from "./file-system.js";

/** Bytes between two turns of the event loop: a fraction of a millisecond of hashing. */
const PIECE = 1 << 18;

/**
 * Hashes files sequentially in pieces, so that gigabytes do not block the event loop.
 *
 * @returns size and SHA-256 of each file, in the order of `paths`
 * @throws Node's error for the first file that cannot be read, or `ERR_ABORTED`
 */
export async function sha256OfFiles(paths: readonly string[], signal?: AbortSignal): Promise<Sha256[]> {
  const results: Sha256[] = [];
  for (const path of paths) {
    throwIfAborted(signal);
    const hash = createHash("sha256");
    results.push({ size: await hashFile(path, hash, signal), sha256: hash.digest("hex") });
  }
  throwIfAborted(signal);
  return results;
}

/**
 * Feeds a file to a hash in pieces.
 *
 * @returns its bytes
 * @throws Node's error if it cannot be read, or `ERR_ABORTED`
 */
export async function hashFile(path: string, hash: Hash, signal?: AbortSignal): Promise<number> {
  let size = 0;
  for await (const piece of createReadStream(path, { highWaterMark: PIECE }) as AsyncIterable<Buffer>) {
    throwIfAborted(signal);
    hash.update(piece);
    size += piece.length;
  }
  return size;
}
