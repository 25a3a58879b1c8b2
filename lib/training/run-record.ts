import { copyFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { MODEL_INDEX } from "../components/model-index.js";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { disk } from "../files/file-system.js";
import { errnoOf, ioError } from "../files/io-error.js";
import { exists, readSmallFile } from "../files/tree.js";
import { writeFileAtomically } from "../images/write-file.js";
import { METRICS_FILE } from "../tracking/metrics-file.js";
import { isInLineage, nameOfRun, type RunIdentity, shortId } from "./checkpoint/lineage.js";
import { parseRun } from "./checkpoint/manifest.js";

/** Records which run last used an output folder, and which saved the model there. */
const RECORD = "run.json";
const FORMAT = "instruct-pix2pix run";
const MAX_BYTES = 1 << 20;

export interface RunRecord {
  /** The run of metrics.jsonl. */
  readonly run: RunIdentity;
  /** The run that saved the model, and its step. */
  readonly model?: { readonly id: string; readonly step: number };
}

/** The start of a run in the folder. */
export interface RunBeginning {
  run: RunIdentity;
  /** Whether it resumes from a checkpoint in the folder itself. */
  inPlace: boolean;
}

/**
 * Registers a run in its output folder's record. Metrics of another run are renamed to `metrics.<run>.jsonl`, and those
 * of the resumed or parent run are restored.
 *
 * @param warn receives warnings about renamed metrics, and about another run's model that will be replaced
 * @throws `ERR_IO`
 */
export async function beginRun(
  outputDir: string,
  { run, inPlace }: RunBeginning,
  warn: (message: string) => void,
): Promise<void> {
  const record = await readRecord(outputDir);
  await warnOfModel(outputDir, record, run, warn);
  // Without a record, metrics belong to the run of the checkpoints.
  const owner = record ? record.run.id : inPlace ? run.id : null;
  const metrics = join(outputDir, METRICS_FILE);
  try {
    if (owner !== run.id && (await sizeOf(metrics)) > 0) {
      const kept = await freeName(outputDir, owner);
      await rename(metrics, join(outputDir, kept));
      warn(`${METRICS_FILE} is of ${nameOfRun(owner)} and is kept as ${kept}`);
    }
    await writeRecord(outputDir, { ...record, run });
    if ((await sizeOf(metrics)) === 0) await bringBack(outputDir, run);
  } catch (error) {
    throw ioError("write", metrics, error);
  }
}

/** Records the run of the saved model. @throws `ERR_IO` */
export async function recordModel(outputDir: string, run: RunIdentity, step: number): Promise<void> {
  await writeRecord(outputDir, { run, model: { id: run.id, step } });
}

async function warnOfModel(
  outputDir: string,
  record: RunRecord | undefined,
  run: RunIdentity,
  warn: (message: string) => void,
): Promise<void> {
  if (!(await exists(disk, join(outputDir, MODEL_INDEX)))) return;
  const model = record?.model;
  const maker = model && { id: model.id, ancestors: [] };
  if (isInLineage(run, { run: maker, step: model?.step ?? 0 })) return;
  const whose = model ? ` of ${nameOfRun(model.id)} after ${model.step} steps` : " (made by another run or program)";
  warn(`the model in ${outputDir}${whose} will be replaced at the end of this run`);
}

/** The run's renamed metrics, or else a copy of the nearest ancestor's. */
async function bringBack(outputDir: string, run: RunIdentity): Promise<void> {
  const metrics = join(outputDir, METRICS_FILE);
  const own = join(outputDir, keptName(run.id, 1));
  if (await exists(disk, own)) return rename(own, metrics);
  for (const { id } of run.ancestors) {
    const theirs = join(outputDir, keptName(id, 1));
    if (!(await exists(disk, theirs))) continue;
    const copy = join(outputDir, `.${METRICS_FILE}.copy.tmp`);
    try {
      await copyFile(theirs, copy);
      return await rename(copy, metrics);
    } finally {
      await rm(copy, { force: true });
    }
  }
}

function keptName(id: string | null, copy: number): string {
  const owner = id === null ? "earlier" : shortId(id);
  return METRICS_FILE.replace(/(\.jsonl)$/, `.${owner}${copy > 1 ? `-${copy}` : ""}$1`);
}

async function freeName(outputDir: string, id: string | null): Promise<string> {
  for (let copy = 1; ; copy++) {
    const name = keptName(id, copy);
    if (!(await exists(disk, join(outputDir, name)))) return name;
  }
}

/** In bytes; 0 for a missing file. */
async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return 0;
    throw error;
  }
}

async function writeRecord(outputDir: string, { run, model }: RunRecord): Promise<void> {
  const text = `${JSON.stringify({ format: FORMAT, run, ...(model && { model }) }, null, 1)}\n`;
  await writeFileAtomically(join(outputDir, RECORD), Buffer.from(text));
}

/** Undefined if it is missing or malformed: only names of runs are lost then. */
export async function readRecord(outputDir: string): Promise<RunRecord | undefined> {
  const path = join(outputDir, RECORD);
  try {
    if ((await disk.lstat(path)).kind !== "file")
      throw new InstructPix2PixError("ERR_IO", `cannot read "${path}": it is not a regular file`);
    const bytes = await readSmallFile(disk, path, MAX_BYTES);
    const { format, run, model } = JSON.parse(bytes?.toString() ?? "null") as Record<string, unknown>;
    const identity = parseRun(run);
    if (format !== FORMAT || !identity) return undefined;
    const { id, step } = (model ?? {}) as { id?: unknown; step?: unknown };
    const known = typeof id === "string" && Number.isSafeInteger(step);
    return { run: identity, ...(known && { model: { id, step: step as number } }) };
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw isInstructPix2PixError(error) ? error : ioError("read", path, error);
  }
}
