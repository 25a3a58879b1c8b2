import { join } from "node:path";
import type { FileSystem } from "../../files/file-system.js";
import { ioError } from "../../files/io-error.js";
import { removeTree, syncPath } from "../../files/tree.js";
import { isInLineage, type RunIdentity } from "./lineage.js";
import { temporaryName } from "./names.js";
import { type FoundCheckpoint, surveyCheckpoints } from "./survey.js";

/** A checkpoint that could not be removed, with the error. */
export interface Unpruned {
  readonly path: string;
  readonly error: unknown;
}

/**
 * Removes the run's checkpoints of the lowest steps until `keep` are left, never the one of `justWritten`. Checkpoints
 * of other runs and programs, and folders of unknown origin, are neither counted nor removed. A checkpoint is renamed
 * (and synced) before its files are removed, so that no partial one has a checkpoint's name.
 */
export async function pruneCheckpoints(
  outputDir: string,
  justWritten: number,
  keep: number | undefined,
  run: RunIdentity | undefined,
  fs: FileSystem,
): Promise<{ pruned: string[]; unpruned: Unpruned[] }> {
  const pruned: string[] = [];
  const unpruned: Unpruned[] = [];
  if (keep === undefined) return { pruned, unpruned };
  let others: FoundCheckpoint[];
  try {
    others = (await surveyCheckpoints(outputDir, fs)).filter(
      (found) => found.step !== justWritten && found.kind === "ours" && isInLineage(run, found.manifest),
    );
  } catch (error) {
    return { pruned, unpruned: [{ path: outputDir, error }] };
  }
  for (const { step, path } of others.slice(0, Math.max(0, others.length + 1 - keep))) {
    const doomed = join(outputDir, temporaryName(step, "pruned"));
    try {
      await removeTree(fs, doomed);
      await fs.rename(path, doomed);
      await syncPath(fs, outputDir, "folder");
      await removeTree(fs, doomed);
      pruned.push(path);
    } catch (error) {
      unpruned.push({ path, error: ioError("remove the checkpoint", path, error) });
    }
  }
  return { pruned, unpruned };
}
