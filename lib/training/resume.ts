import { existsSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { disk } from "../files/file-system.js";
import { lastWritten, latestValidCheckpoint, removeStaleCheckpoints } from "./checkpoint/find.js";
import { branchOf, isInLineage, nameOfRun, newRun, type RunIdentity } from "./checkpoint/lineage.js";
import { readState, type TrainingState } from "./checkpoint/state.js";
import { type SurveyedCheckpoint, surveyCheckpoint, surveyCheckpoints } from "./checkpoint/survey.js";
import { verifyCheckpoint } from "./checkpoint/verify.js";
import { readDiffusersCheckpoint } from "./compat/diffusers-checkpoint.js";
import type { TrainOptions } from "./options.js";

/** A checkpoint to resume from. */
export interface Resumption {
  folder: string;
  /** Optimizer steps done. */
  step: number;
  /** The training state; undefined for a checkpoint of diffusers' script, whose state is not read. */
  state: TrainingState | undefined;
}

/** The start of a run, and its identity. */
export interface StartingPoint {
  run: RunIdentity;
  /** Later than all checkpoints in the output folder, in milliseconds since 1970. */
  notBefore: number;
  /** Undefined for a new run. */
  resumed: Resumption | undefined;
  /** Whether it continues a run of this folder, rather than starting or branching off. */
  inPlace: boolean;
}

type Warn = (message: string) => void;

/**
 * Finds the checkpoint named by `resume_from_checkpoint`, and determines the identity of the resumed run. `latest` is
 * the newest valid checkpoint of the run that wrote the last one; a warning names other checkpoints in the folder.
 *
 * @throws `ERR_CHECKPOINT`, also if `latest` would have to be a checkpoint of another run or program;
 *   `ERR_FILE_NOT_FOUND`; `ERR_IO`; `ERR_ABORTED`
 */
export async function findStart(options: TrainOptions, warn: Warn, signal?: AbortSignal): Promise<StartingPoint> {
  const { outputDir, resumeFromCheckpoint: asked } = options;
  await removeStaleCheckpoints(outputDir, { signal });
  const surveyed = await surveyCheckpoints(outputDir);
  const notBefore = (lastWritten(surveyed)?.manifest.writtenAt ?? 0) + 1;
  const broken = new Set<string>();
  const start =
    asked === undefined
      ? { run: newRun(), resumed: undefined, inPlace: false }
      : asked === "latest"
        ? await latest(outputDir, surveyed, broken, warn, signal)
        : await named(asked, options, surveyed, warn, signal);
  const others = surveyed.filter((found) => !broken.has(found.path) && !belongsTo(start.run, found));
  if (others.length > 0)
    warn(`${outputDir} has checkpoints of other origin, which this run ignores and keeps: ${listed(others)}`);
  return { ...start, notBefore };
}

type Start = Omit<StartingPoint, "notBefore">;

async function latest(
  outputDir: string,
  surveyed: readonly SurveyedCheckpoint[],
  broken: Set<string>,
  warn: Warn,
  signal: AbortSignal | undefined,
): Promise<Start> {
  const found = await latestValidCheckpoint(
    outputDir,
    ({ path, error }) => {
      broken.add(path);
      warn(`${path} is broken and skipped: ${error.message}`);
    },
    { signal },
  );
  if (!found) {
    const others = surveyed.filter(({ path }) => !broken.has(path));
    if (others.length > 0)
      throw new InstructPix2PixError(
        "ERR_CHECKPOINT",
        `${outputDir} has no checkpoint for "latest", but ${listed(others)}; name one of them as resumeFromCheckpoint, e.g. ${basename(others.at(-1)!.path)}, or choose another output folder`,
      );
    warn(`${outputDir} has no checkpoint; training starts from the beginning`);
    return { run: newRun(), resumed: undefined, inPlace: false };
  }
  const { path: folder, step, run } = found;
  if (surveyed.some((other) => other.kind === "ours" && !isInLineage(run, other.manifest)))
    warn(`latest is ${folder}, of ${nameOfRun(run?.id)}, which wrote the last checkpoint`);
  const resumed = { folder, step, state: await readState(folder) };
  return { run: run ?? branchOf(undefined, step), resumed, inPlace: true };
}

async function named(
  asked: string,
  options: TrainOptions,
  surveyed: readonly SurveyedCheckpoint[],
  warn: Warn,
  signal: AbortSignal | undefined,
): Promise<Start> {
  const { outputDir } = options;
  // Like in the reference, a bare name is searched in the output folder.
  const folder = existsSync(asked) ? asked : join(outputDir, asked);
  if (!existsSync(folder))
    throw new InstructPix2PixError(
      "ERR_FILE_NOT_FOUND",
      `the checkpoint ${asked} does not exist, here or in ${outputDir}`,
    );
  if ((await disk.lstat(await realpath(folder))).kind === "folder") {
    const { kind } = await surveyCheckpoint({ step: 0, path: folder });
    if (kind === "diffusers") {
      const resumed = await readDiffusersCheckpoint(folder, options, warn);
      return { run: newRun(), resumed, inPlace: false };
    }
  }
  const { step, run } = await verifyCheckpoint(folder, { signal });
  const resumed = { folder, step, state: await readState(folder) };
  const isHere = (await realpath(dirname(await realpath(folder)))) === (await realpath(outputDir));
  const isTip = !surveyed.some(
    (other) => other.kind === "ours" && other.manifest.run?.id === run?.id && other.step > step,
  );
  // If later steps exist already or may be made elsewhere, the resumed run gets a new identity.
  if (isHere && isTip && run) return { run, resumed, inPlace: true };
  return { run: branchOf(run, step), resumed, inPlace: false };
}

function belongsTo(run: RunIdentity, found: SurveyedCheckpoint): boolean {
  return found.kind === "ours" && isInLineage(run, found.manifest);
}

/** Describes checkpoints with their origin. */
function listed(surveyed: readonly SurveyedCheckpoint[]): string {
  const groups = new Map<string, string[]>();
  for (const found of surveyed) {
    const origin =
      found.kind === "ours"
        ? `of ${nameOfRun(found.manifest.run?.id)}`
        : found.kind === "diffusers"
          ? "written by diffusers' script"
          : "of unknown origin, without a readable manifest.json";
    groups.set(origin, [...(groups.get(origin) ?? []), basename(found.path)]);
  }
  return [...groups].map(([origin, names]) => `${names.join(", ")} (${origin})`).join("; ");
}
