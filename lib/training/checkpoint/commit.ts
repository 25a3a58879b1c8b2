import { dirname, join, resolve } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { disk, type FileSystem, type Sha256 } from "../../files/file-system.js";
import { ioError } from "../../files/io-error.js";
import { exists, readTree, removeTree, syncPath, writeText } from "../../files/tree.js";
import { packageVersion } from "../../runtime/package-version.js";
import { isInLineage, type RunIdentity, shortId } from "./lineage.js";
import { formatManifest, type Manifest } from "./manifest.js";
import { asideName, checkpointName, isSafeFileName, MANIFEST, temporaryName } from "./names.js";
import { pruneCheckpoints, type Unpruned } from "./prune.js";
import { surveyCheckpoint } from "./survey.js";

export interface CommitOptions {
  /** Number of the run's checkpoints to keep, this one included; at least 1. Default: all. */
  keep?: number;
  /** The run that writes it; without one it belongs to the checkpoints from before runs had an identity. */
  run?: RunIdentity;
  /** Lower bound of its time stamp in milliseconds since 1970, in case the clock was set back. */
  notBefore?: number;
  /** Aborts the writing; ignored once the checkpoint is complete. */
  signal?: AbortSignal;
  fs?: FileSystem;
}

export interface Commit {
  /** The checkpoint's folder. */
  readonly path: string;
  readonly manifest: Manifest;
  /** The checkpoints removed because of the limit. */
  readonly pruned: string[];
  /** Those that could not be removed; the next commit tries again. */
  readonly unpruned: Unpruned[];
  /** The new path of another run's or program's checkpoint that had this one's name. */
  readonly movedAside: string | undefined;
}

/**
 * Writes the checkpoint `outputDir/checkpoint-<step>` so that at every moment, a power cut included, the folder of that
 * name is either absent, the earlier one of the same step, or complete:
 *
 * 1. `write` fills `checkpoint-<step>.tmp`; leftovers of an earlier attempt are removed first;
 * 2. every file and folder in it is synced to the disk;
 * 3. the manifest, with size and SHA-256 of every file, is written and synced, then its folder;
 * 4. the folder is renamed, and the folder around it synced;
 * 5. only then are the run's checkpoints beyond the limit removed, the lowest steps first.
 *
 * Checkpoints of other runs or programs are never removed: one with this checkpoint's name is renamed.
 *
 * @param step optimizer steps done
 * @param write creates the checkpoint's files below the folder it is given, which exists and is empty
 * @throws `ERR_IO` if the disk is full, read-only or broken; `ERR_CHECKPOINT` if `write` left something that is not a
 *   regular file or has a name that not every platform can hold; `ERR_ABORTED`; or what `write` throws. In each of these
 *   cases earlier checkpoints are as they were and nothing unfinished is left behind. If it is only the very last sync
 *   that fails, the checkpoint itself is in place.
 */
export async function commitCheckpoint(
  outputDir: string,
  step: number,
  write: (folder: string) => Promise<void>,
  options: CommitOptions = {},
): Promise<Commit> {
  const { keep, signal, run, notBefore = 0, fs = disk } = options;
  if (!Number.isSafeInteger(step) || step < 0)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `a checkpoint's step is a whole number, not ${step}`);
  if (keep !== undefined && (!Number.isSafeInteger(keep) || keep < 1))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `at least one checkpoint must be kept, not ${keep}`);
  throwIfAborted(signal);
  const path = join(outputDir, checkpointName(step));
  const written = join(outputDir, temporaryName(step, "written"));
  let manifest: Manifest;
  let movedAside: string | undefined;
  try {
    await makeFolders(fs, resolve(outputDir));
    await removeTree(fs, written);
    await fs.mkdir(written);
    try {
      await write(written);
      const writtenAt = run && Math.max(Date.now(), notBefore);
      manifest = await seal(fs, written, { step, run, writtenAt }, signal);
      throwIfAborted(signal);
      movedAside = await moveIntoPlace(fs, outputDir, step, run);
    } catch (error) {
      // The first error takes precedence.
      await removeTree(fs, written).catch(() => {});
      throw error;
    }
  } catch (error) {
    throw ioError("write the checkpoint", path, error);
  }
  return { path, manifest, movedAside, ...(await pruneCheckpoints(outputDir, step, keep, run, fs)) };
}

/** Syncs and hashes the written files, and adds the manifest. */
async function seal(
  fs: FileSystem,
  folder: string,
  { step, run, writtenAt }: Pick<Manifest, "step" | "run" | "writtenAt">,
  signal: AbortSignal | undefined,
): Promise<Manifest> {
  throwIfAborted(signal);
  const { files, folders } = await readTree(fs, folder);
  if (files.length === 0) throw invalid(folder, "nothing was written to it");
  for (const name of files)
    if (!isSafeFileName(name) || name === MANIFEST)
      throw invalid(folder, `${JSON.stringify(name)} is not a name for a file in a checkpoint`);
  const hashes = await syncAndHash(fs, folder, files, signal);
  for (const name of folders) await syncPath(fs, join(folder, name), "folder");
  throwIfAborted(signal);
  const entries = files.map((name, i): [string, Sha256] => [name, hashes[i]!]);
  const manifest: Manifest = {
    packageVersion: packageVersion(),
    step,
    files: new Map(entries),
    ...(run && { run, writtenAt }),
  };
  await writeText(fs, join(folder, MANIFEST), formatManifest(manifest), { sync: true });
  await syncPath(fs, folder, "folder");
  return manifest;
}

/** In parallel: syncing waits for the disk, hashing for a thread. */
async function syncAndHash(
  fs: FileSystem,
  folder: string,
  files: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Sha256[]> {
  const failed = new AbortController();
  const paths = files.map((name) => join(folder, name));
  const syncAll = async (): Promise<void> => {
    for (const path of paths) {
      throwIfAborted(signal);
      await syncPath(fs, path, "file");
    }
  };
  const syncing = syncAll().catch((error) => {
    failed.abort();
    throw error;
  });
  const hashing = fs.sha256(paths, signal ? AbortSignal.any([signal, failed.signal]) : failed.signal);
  // Both must have ended before the folder is removed.
  const [synced, hashed] = await Promise.allSettled([syncing, hashing]);
  if (synced.status === "rejected") throw synced.reason;
  if (hashed.status === "rejected") throw hashed.reason;
  return hashed.value;
}

/** Renames what is at `path` to `former` and `next` to `path`, or nothing at all. */
async function replace(fs: FileSystem, path: string, next: string, former: string): Promise<void> {
  await fs.rename(path, former);
  try {
    await fs.rename(next, path);
  } catch (error) {
    await fs.rename(former, path);
    throw error;
  }
}

/**
 * The rename that makes it a checkpoint, synced. A folder cannot be renamed over a non-empty one, so an earlier
 * checkpoint of the same step is renamed first: permanently if it is not the run's own.
 *
 * @returns the new path of a permanently renamed checkpoint
 */
async function moveIntoPlace(
  fs: FileSystem,
  outputDir: string,
  step: number,
  run: RunIdentity | undefined,
): Promise<string | undefined> {
  const path = join(outputDir, checkpointName(step));
  const written = join(outputDir, temporaryName(step, "written"));
  const replaced = join(outputDir, temporaryName(step, "replaced"));
  const aside = await asidePath(fs, outputDir, step, run);
  if (aside !== undefined) await replace(fs, path, written, aside);
  else if (await exists(fs, path)) {
    await removeTree(fs, replaced);
    await replace(fs, path, written, replaced);
  } else await fs.rename(written, path);
  await syncPath(fs, outputDir, "folder");
  // Not before the sync, since after a power failure the old one may have its name again. Leftovers are removed later.
  await removeTree(fs, replaced).catch(() => {});
  return aside;
}

/** A free name for another run's checkpoint of the same name; undefined if there is none. */
async function asidePath(
  fs: FileSystem,
  outputDir: string,
  step: number,
  run: RunIdentity | undefined,
): Promise<string | undefined> {
  const path = join(outputDir, checkpointName(step));
  if (!(await exists(fs, path))) return undefined;
  const isFolder = (await fs.lstat(path)).kind === "folder";
  const found = isFolder ? await surveyCheckpoint({ step, path }, fs) : { kind: "unknown" as const };
  if (found.kind === "ours" && isInLineage(run, found.manifest)) return undefined;
  const owner = found.kind !== "ours" ? found.kind : found.manifest.run ? shortId(found.manifest.run.id) : "earlier";
  for (let copy = 1; ; copy++) {
    const candidate = join(outputDir, asideName(step, owner, copy));
    if (!(await exists(fs, candidate))) return candidate;
  }
}

/** Creates the checkpoint's parent folders, synced like the checkpoint itself. */
async function makeFolders(fs: FileSystem, path: string): Promise<void> {
  if (await exists(fs, path)) return;
  const parent = dirname(path);
  await makeFolders(fs, parent);
  await fs.mkdir(path);
  await syncPath(fs, parent, "folder");
}

function invalid(folder: string, what: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_CHECKPOINT", `${folder}: ${what}`);
}
