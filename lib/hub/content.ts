import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { throwIfAborted } from "../errors.js";
import type { FileMetadata, RepositoryFile } from "./client.js";

/** What a file's content must be. */
export interface ExpectedContent {
  /** Its name among the blobs. */
  readonly name: string;
  /** Lower-case hexadecimal, the plain sha256 or git's hash of a blob; undefined where nothing is known to check. */
  readonly hash: { readonly kind: "sha256" | "git"; readonly hex: string } | undefined;
  /** Bytes. */
  readonly size: number;
}

/** Whether a text is a sha256. */
export function isSha256(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** Whether a text is what git names a blob by, in repositories of either kind. */
export function isGitHash(text: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

/**
 * What a file is by its repository's listing, whatever its ETag says. Blobs are named as the hub's ETags name them: large
 * files by their sha256, small ones by git's hash. Taken from the listing, a name cannot stand for other content. Only a
 * listing without hashes leaves the ETag, which then is the name, and the hash if it has the form of one.
 *
 * @returns `size` is NaN where neither says it
 */
export function expectedContent(file: RepositoryFile, { etag, size }: FileMetadata): ExpectedContent {
  const bytes = Number.isSafeInteger(file.size) && file.size >= 0 ? file.size : (size ?? Number.NaN);
  const of = (kind: "sha256" | "git", hex: string) => ({ name: hex, hash: { kind, hex }, size: bytes });
  if (file.sha256 !== undefined) return of("sha256", file.sha256);
  if (file.gitHash !== undefined) return of("git", file.gitHash);
  if (isSha256(etag)) return of("sha256", etag);
  if (isGitHash(etag)) return of("git", etag);
  return { name: etag, hash: undefined, size: bytes };
}

/**
 * Whether a file has the content expected.
 *
 * @throws `ERR_ABORTED`, or Node's error for a file that cannot be read; one that does not exist has not
 */
export async function hasContent(
  path: string,
  { hash, size }: ExpectedContent,
  signal?: AbortSignal,
): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || found.size !== size) return false;
  if (hash === undefined) return true;
  const algorithm = hash.hex.length === 40 ? "sha1" : "sha256";
  const digest = createHash(algorithm).update(hash.kind === "git" ? `blob ${size}\0` : "");
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal }))
      digest.update(chunk as Buffer);
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  }
  return digest.digest("hex") === hash.hex;
}
