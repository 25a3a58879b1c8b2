import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import type { Tensor } from "../../core/tensor.js";
import { disk } from "../../files/file-system.js";
import { errnoOf, ioError } from "../../files/io-error.js";
import { readSmallFile, readTree, syncPath, writeText } from "../../files/tree.js";
import { isInLineage, type RunIdentity, shortId } from "../checkpoint/lineage.js";
import { disposeRecord } from "../named-tensors.js";
import type { TrainedFiles } from "../trained-files.js";
import type { Trainer } from "../trainer.js";
import { KEPT_WIDTHS } from "./power-function.js";

/** The folder of averages in a run's output folder: `ema-snapshots/<run>/step-<step>/<width>/`. */
const FOLDER = "ema-snapshots";
const INDEX = "snapshot.json";
const FORMAT = "instruct-pix2pix averages";
const MAX_BYTES = 1 << 16;

/** An average in a run's output folder. */
export interface SavedAverage {
  step: number;
  /** Its relative width. */
  width: number;
  /** Of the trained models, or the LoRA's files. */
  folder: string;
}

/** Writes the trainer's averages after a step; those of the same run and step are replaced. @throws `ERR_IO` */
export async function saveAverages(
  outputDir: string,
  run: RunIdentity,
  step: number,
  { trainer, files }: { trainer: Trainer; files: TrainedFiles },
): Promise<void> {
  const folder = join(outputDir, FOLDER, shortId(run.id), `step-${step}`);
  const unfinished = `${folder}.tmp`;
  const traces = await trainer.tracesState();
  try {
    await rm(unfinished, { recursive: true, force: true });
    for (const [i, width] of KEPT_WIDTHS.entries()) {
      const place = join(unfinished, nameOf(width));
      await mkdir(place, { recursive: true });
      await files.save(place, "", partOf(traces, `${i}.`), step);
    }
    await writeText(disk, join(unfinished, INDEX), `${JSON.stringify({ format: FORMAT, run: run.id, step })}\n`);
    const { files: written, folders } = await readTree(disk, unfinished);
    for (const file of written) await syncPath(disk, join(unfinished, file), "file");
    for (const name of folders) await syncPath(disk, join(unfinished, name), "folder");
    await rm(folder, { recursive: true, force: true });
    await rename(unfinished, folder);
  } catch (error) {
    throw ioError("save averages in", folder, error);
  } finally {
    disposeRecord(traces);
    await rm(unfinished, { recursive: true, force: true }).catch(() => {});
  }
}

/** The averages of a run and of those that it branched off from, by step. @throws `ERR_IO` */
export async function listAverages(outputDir: string, run: RunIdentity): Promise<SavedAverage[]> {
  const found: SavedAverage[] = [];
  for (const owner of await foldersIn(join(outputDir, FOLDER)))
    for (const name of await foldersIn(owner)) {
      const made = await readIndex(join(name, INDEX));
      if (made && isInLineage(run, { run: { id: made.run, ancestors: [] }, step: made.step }))
        for (const width of KEPT_WIDTHS) found.push({ step: made.step, width, folder: join(name, nameOf(width)) });
    }
  return found.sort((a, b) => a.step - b.step || a.width - b.width);
}

function nameOf(width: number): string {
  return width.toFixed(2);
}

function partOf(tensors: Record<string, Tensor>, prefix: string): Record<string, Tensor> {
  const own = Object.entries(tensors).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

async function foldersIn(folder: string): Promise<string[]> {
  try {
    const entries = await disk.readdir(folder);
    return entries.filter(({ kind }) => kind === "folder").map(({ name }) => join(folder, name));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw ioError("read", folder, error);
  }
}

/** Undefined where there is none: the folder is unfinished, or somebody else's. */
async function readIndex(path: string): Promise<{ run: string; step: number } | undefined> {
  let text: string;
  try {
    text = (await readSmallFile(disk, path, MAX_BYTES))?.toString() ?? "";
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw ioError("read", path, error);
  }
  try {
    const { format, run, step } = JSON.parse(text) as Record<string, unknown>;
    if (format === FORMAT && typeof run === "string" && Number.isSafeInteger(step))
      return { run, step: step as number };
  } catch {}
  throw new InstructPix2PixError("ERR_CHECKPOINT", `${path}: is not the index of a snapshot`);
}
