import { join } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError } from "../../errors.js";
import { errnoOf, ioError } from "../../io-error.js";
import { disk, type FileSystem, type FolderEntry } from "./file-system.js";
import type { Manifest } from "./manifest.js";
import { checkpointName, stageOf, stepOf, temporaryName } from "./names.js";
import { exists, removeTree, syncPath } from "./tree.js";
import { verifyCheckpoint } from "./verify.js";

/** A folder that has a checkpoint's name; whether it is a whole one is not known yet. */
export interface FoundCheckpoint {
  /** Optimiser steps done. */
  readonly step: number;
  readonly path: string;
}

/** A checkpoint that is as it was written. */
export interface ValidCheckpoint extends FoundCheckpoint {
  readonly manifest: Manifest;
}

/** A checkpoint that was passed over, and what is wrong with it. */
export interface BrokenCheckpoint extends FoundCheckpoint {
  /** `ERR_CHECKPOINT`, naming the file. */
  readonly error: InstructPix2PixError;
}

export interface LatestOptions {
  signal?: AbortSignal;
  fs?: FileSystem;
}

/**
 * The folders named `checkpoint-<step>`, lowest step first; none if `outputDir` does not exist. Links and files of such
 * a name are not checkpoints.
 *
 * @throws `ERR_IO` if the folder cannot be read
 */
export async function findCheckpoints(outputDir: string, fs: FileSystem = disk): Promise<FoundCheckpoint[]> {
  const found: FoundCheckpoint[] = [];
  for (const { name, kind } of await entriesOf(outputDir, fs)) {
    const step = stepOf(name);
    if (step !== undefined && kind === "folder") found.push({ step, path: join(outputDir, name) });
  }
  return found.sort((a, b) => a.step - b.step);
}

/**
 * The checkpoint of the highest step that agrees with its manifest; undefined if there is none. What a killed process
 * left behind is cleared away first, see {@link removeStaleCheckpoints}.
 *
 * @param onBroken is told of every checkpoint that had to be passed over, from the highest step down; falling back must
 *   never go unnoticed, so it is not optional
 * @throws `ERR_IO` if something other than a broken checkpoint prevents reading, such as missing permission; `ERR_ABORTED`
 */
export async function latestValidCheckpoint(
  outputDir: string,
  onBroken: (broken: BrokenCheckpoint) => void,
  options: LatestOptions = {},
): Promise<ValidCheckpoint | undefined> {
  const { signal, fs = disk } = options;
  await removeStaleCheckpoints(outputDir, { signal, fs });
  for (const found of (await findCheckpoints(outputDir, fs)).reverse()) {
    try {
      return { ...found, manifest: await verifyCheckpoint(found.path, { signal, fs }) };
    } catch (error) {
      if (!isInstructPix2PixError(error, "ERR_CHECKPOINT")) throw error;
      onBroken({ ...found, error });
    }
  }
  return undefined;
}

/**
 * Removes the `checkpoint-<step>*.tmp` folders that a killed process left behind. If it was killed while one checkpoint
 * took the place of another of the same step, when neither had its name, the new one is put in place, or the old one
 * where the new is not complete.
 *
 * @throws `ERR_IO` if one cannot be removed
 */
export async function removeStaleCheckpoints(outputDir: string, options: LatestOptions = {}): Promise<void> {
  const { signal, fs = disk } = options;
  const stale = (await entriesOf(outputDir, fs)).flatMap(({ name }) => {
    const stage = stageOf(name);
    return stage ? [{ ...stage, path: join(outputDir, name) }] : [];
  });
  try {
    for (const { step, stage } of stale)
      if (stage === "replaced") await finishReplacement(outputDir, step, { signal, fs });
    for (const { path } of stale) await removeTree(fs, path);
  } catch (error) {
    throw ioError("clear away unfinished checkpoints in", outputDir, error);
  }
}

async function finishReplacement(
  outputDir: string,
  step: number,
  { signal, fs }: { signal: AbortSignal | undefined; fs: FileSystem },
): Promise<void> {
  const path = join(outputDir, checkpointName(step));
  if (await exists(fs, path)) return;
  for (const stage of ["written", "replaced"] as const) {
    const candidate = join(outputDir, temporaryName(step, stage));
    if (!(await exists(fs, candidate))) continue;
    try {
      await verifyCheckpoint(candidate, { step, signal, fs });
    } catch (error) {
      if (isInstructPix2PixError(error, "ERR_CHECKPOINT")) continue;
      throw error;
    }
    await fs.rename(candidate, path);
    return syncPath(fs, outputDir, "folder");
  }
}

async function entriesOf(outputDir: string, fs: FileSystem): Promise<FolderEntry[]> {
  try {
    return await fs.readdir(outputDir);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    if (errnoOf(error) === "ENOTDIR")
      throw new InstructPix2PixError("ERR_IO", `cannot read "${outputDir}": it is not a folder`, { cause: error });
    throw ioError("read", outputDir, error);
  }
}
