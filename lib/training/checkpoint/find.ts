import { join } from "node:path";
import { type InstructPix2PixError, isInstructPix2PixError } from "../../core/errors.js";
import { disk, type FileSystem } from "../../files/file-system.js";
import { ioError } from "../../files/io-error.js";
import { exists, removeTree, syncPath } from "../../files/tree.js";
import { isInLineage, type RunIdentity } from "./lineage.js";
import type { Manifest } from "./manifest.js";
import { checkpointName, stageOf, temporaryName } from "./names.js";
import { entriesOf, type FoundCheckpoint, type SurveyedCheckpoint, surveyCheckpoints } from "./survey.js";
import { verifyCheckpoint } from "./verify.js";

/** A valid checkpoint. */
export interface ValidCheckpoint extends FoundCheckpoint {
  readonly manifest: Manifest;
}

/** The checkpoint for `latest`. */
export interface LatestCheckpoint extends ValidCheckpoint {
  /** The run that resumes from it: its own, or one that branched off later; undefined for runs without an identity. */
  readonly run: RunIdentity | undefined;
}

type OwnCheckpoint = Extract<SurveyedCheckpoint, { kind: "ours" }>;

/** An invalid checkpoint that was skipped, with its error. */
export interface BrokenCheckpoint extends FoundCheckpoint {
  /** `ERR_CHECKPOINT`, naming the file. */
  readonly error: InstructPix2PixError;
}

export interface LatestOptions {
  signal?: AbortSignal;
  fs?: FileSystem;
}

/**
 * The newest checkpoint that agrees with its manifest, among those of the run that wrote the last one; undefined if
 * there is none. Checkpoints of other runs and programs are ignored. Leftovers of killed processes are removed first,
 * see {@link removeStaleCheckpoints}.
 *
 * @param onBroken called for every skipped checkpoint, from the highest step down; required, since falling back must
 * not go unnoticed
 * @throws `ERR_IO` if something other than a broken checkpoint prevents reading, such as missing permission; `ERR_ABORTED`
 */
export async function latestValidCheckpoint(
  outputDir: string,
  onBroken: (broken: BrokenCheckpoint) => void,
  options: LatestOptions = {},
): Promise<LatestCheckpoint | undefined> {
  const { signal, fs = disk } = options;
  await removeStaleCheckpoints(outputDir, { signal, fs });
  const surveyed = await surveyCheckpoints(outputDir, fs);
  const run = lastWritten(surveyed)?.manifest.run;
  for (const found of surveyed.reverse()) {
    if (found.kind === "diffusers" || (found.kind === "ours" && !isInLineage(run, found.manifest))) continue;
    const { step, path } = found;
    try {
      return { step, path, manifest: await verifyCheckpoint(path, { signal, fs }), run };
    } catch (error) {
      if (!isInstructPix2PixError(error, "ERR_CHECKPOINT")) throw error;
      onBroken({ step, path, error });
    }
  }
  return undefined;
}

/** The last checkpoint written by this package; those without a time stamp (older versions) count as oldest. */
export function lastWritten(surveyed: readonly SurveyedCheckpoint[]): OwnCheckpoint | undefined {
  let last: OwnCheckpoint | undefined;
  for (const found of surveyed)
    if (found.kind === "ours" && (found.manifest.writtenAt ?? 0) >= (last?.manifest.writtenAt ?? 0)) last = found;
  return last;
}

/**
 * Removes the `checkpoint-<step>*.tmp` folders of killed processes. If a process was killed while replacing a
 * checkpoint of the same step, the new one is renamed to its final name or, if incomplete, the old one.
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
