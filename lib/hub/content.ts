import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { hashFile } from "../files/sha256.js";
import type { Digest } from "../network/download.js";
import type { FileMetadata, RepositoryFile } from "./client.js";

/** The expected content of a file. */
export interface ExpectedContent {
  /** Its blob name. */
  readonly name: string;
  /** The sha256 or git blob hash; undefined if unknown. */
  readonly digest: Digest | undefined;
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
  const of = (name: "sha256" | "git hash", hex: string) => {
    const start = () =>
      createHash(hex.length === 40 ? "sha1" : "sha256").update(name === "sha256" ? "" : `blob ${bytes}\0`);
    return { name: hex, digest: { name, hex, start }, size: bytes };
  };
  if (file.sha256 !== undefined) return of("sha256", file.sha256);
  if (file.gitHash !== undefined) return of("git hash", file.gitHash);
  if (isSha256(etag)) return of("sha256", etag);
  if (isGitHash(etag)) return of("git hash", etag);
  return { name: etag, digest: undefined, size: bytes };
}

/**
 * Whether a file has the content expected.
 *
 * @throws `ERR_ABORTED`, or Node's error for a file that cannot be read; false for a missing file
 */
export async function hasContent(path: string, content: ExpectedContent, signal?: AbortSignal): Promise<boolean> {
  const { digest, size } = content;
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || found.size !== size) return false;
  const hash = digest?.start();
  if (hash) await hashFile(path, hash, signal);
  return hash?.digest("hex") === digest?.hex;
}
