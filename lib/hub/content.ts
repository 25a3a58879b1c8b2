import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { hashFile } from "../files/sha256.js";
import type { Digest } from "../network/download.js";
import type { FileMetadata, RepositoryFile } from "./client.js";

/** The expected content of a file. */
export interface ExpectedContent {
  /** Its blob name. */
  readonly name: string;
  /** Lower-case hexadecimal, sha256 or git blob hash; undefined if unknown. */
  readonly hash: { readonly kind: "sha256" | "git"; readonly hex: string } | undefined;
  /** Bytes. */
  readonly size: number;
}

/** Whether a text is a sha256. */
export function isSha256(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** Whether a text is a git blob hash (SHA-1 or SHA-256). */
export function isGitHash(text: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

/**
 * The expected content according to the repository's listing, which takes precedence over the ETag. Blobs are named as
 * by the hub's ETags: large files by their sha256, small ones by their git hash; a name from the listing identifies the
 * content. For a listing without hashes the ETag is the name, and the hash if it has the form of one.
 *
 * @returns `size` is NaN if unknown
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

/** How the content is recognised. */
export function digestOf({ hash, size }: ExpectedContent): Digest | undefined {
  if (hash === undefined) return undefined;
  const { kind, hex } = hash;
  const algorithm = hex.length === 40 ? "sha1" : "sha256";
  const start = () => createHash(algorithm).update(kind === "git" ? `blob ${size}\0` : "");
  return { name: kind === "git" ? "git hash" : "hash", hex, start };
}

/**
 * Whether a file has the content expected.
 *
 * @throws `ERR_ABORTED`, or Node's error for a file that cannot be read; false for a missing file
 */
export async function hasContent(path: string, content: ExpectedContent, signal?: AbortSignal): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || found.size !== content.size) return false;
  const digest = digestOf(content);
  if (digest === undefined) return true;
  const hash = digest.start();
  await hashFile(path, hash, signal);
  return hash.digest("hex") === digest.hex;
}
