import { randomUUID } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { isFile } from "../files/is-file.js";
import { listedFile, type RepositoryFile } from "./client.js";
import { fileNameProblem } from "./file-names.js";
import { isCommit, type Repository, repositoryFolder } from "./repository.js";

/** The used parts of a listing stored by Python's huggingface_hub. */
interface StoredListing {
  format_version?: unknown;
  files?: Record<string, { size: unknown; blob_id: unknown; lfs_sha256?: unknown; lfs_size?: unknown }>;
}

/**
 * A repository's folder in the Hugging Face cache, laid out as Python's huggingface_hub does:
 * `blobs/HASH` the contents, `snapshots/COMMIT/NAME` links to them, `refs/REVISION` the commit a branch or tag stood at.
 */
export class RepositoryCache {
  readonly folder: string;
  readonly #cacheDir: string;

  constructor(cacheDir: string, repository: Repository) {
    this.#cacheDir = cacheDir;
    this.folder = join(cacheDir, repositoryFolder(repository));
  }

  snapshot(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** The path of a file of a commit, whether or not it exists. */
  file(commit: string, name: string): string {
    return join(this.snapshot(commit), ...name.split("/"));
  }

  blob(name: string): string {
    return join(this.folder, "blobs", name);
  }

  /** The lock of a blob's download: named differently from Python's locks, which are left behind. */
  lock(blob: string): string {
    return join(this.#cacheDir, ".locks", basename(this.folder), `${blob}.holder`);
  }

  async has(commit: string, name: string): Promise<boolean> {
    return await isFile(this.file(commit, name));
  }

  /** The last known commit of a revision. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const text = await readFile(this.#ref(revision), "utf8").catch(() => "");
    return isCommit(text.trim()) ? text.trim() : undefined;
  }

  /** Stores the commit of a revision. */
  async remember(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.commitOf(revision)) === commit) return;
    const path = this.#ref(revision);
    const temporary = temporaryBeside(path);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, commit);
    await rename(temporary, path);
  }

  #ref(revision: string): string {
    return join(this.folder, "refs", ...revision.split("/"));
  }

  /** The sorted names of the cached files of a commit; undefined if there are none. */
  async names(commit: string): Promise<string[] | undefined> {
    const entries = await readdir(this.snapshot(commit), { recursive: true }).catch(() => undefined);
    const names: string[] = [];
    for (const entry of entries ?? []) {
      const name = entry.replaceAll(sep, "/");
      if (fileNameProblem(name) === undefined && (await this.has(commit, name))) names.push(name);
    }
    return entries && names.sort();
  }

  /** The listing of a commit, if Python's huggingface_hub has stored it. Commits are immutable, so it is always valid. */
  async storedListing(commit: string): Promise<RepositoryFile[] | undefined> {
    try {
      const path = join(this.folder, "trees", `${commit}.json`);
      const { format_version, files } = JSON.parse(await readFile(path, "utf8")) as StoredListing;
      if (format_version !== 1 || typeof files !== "object" || files === null) return undefined;
      const listing = Object.entries(files).map(([name, { size, blob_id, lfs_sha256, lfs_size }]) =>
        listedFile(name, lfs_size ?? size, blob_id, lfs_sha256),
      );
      return listing.every((file) => file !== undefined) ? listing : undefined;
    } catch {
      return undefined;
    }
  }

  /** Adds a blob to a commit's snapshot: as a relative link, or as a copy where links are not supported. */
  async link(commit: string, name: string, blobName: string, copies: boolean): Promise<void> {
    const path = this.file(commit, name);
    const blob = this.blob(blobName);
    const temporary = temporaryBeside(path);
    await mkdir(dirname(path), { recursive: true });
    try {
      if (copies || !(await linked(relative(dirname(path), blob), temporary))) await copyFile(blob, temporary);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }
}

/** Short, since the file's own name may have the maximal length. */
function temporaryBeside(path: string): string {
  return join(dirname(path), `.${randomUUID().slice(0, 8)}.tmp`);
}

async function linked(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path);
    return true;
  } catch (error) {
    // Errors of systems that do not support or do not permit links.
    if (["EPERM", "EACCES", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"].includes((error as NodeJS.ErrnoException).code ?? ""))
      return false;
    throw error;
  }
}
