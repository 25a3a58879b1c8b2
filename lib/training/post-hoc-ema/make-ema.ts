import { copyFile, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MODEL_INDEX } from "../../components/model-index.js";
import { InstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { checkOptions, optionNames } from "../../core/known-options.js";
import { Tensor } from "../../core/tensor.js";
import { makeFolder } from "../../data/write/new-folder.js";
import { disk } from "../../files/file-system.js";
import { loadSafetensors, saveSafetensors } from "../../files/safetensors.js";
import { exists } from "../../files/tree.js";
import { modelFiles } from "../model-files.js";
import { disposeRecord } from "../named-tensors.js";
import { readRecord } from "../run-record.js";
import { combination, exponentOf, LEAST_WIDTH, MOST_WIDTH } from "./power-function.js";
import { listAverages, type SavedAverage } from "./snapshots.js";

/** Options of {@link makeEma}. */
export interface MakeEmaOptions {
  /** The output folder of a run with `postHocEma`. */
  model: string;
  /** The folder of the new model, which is not there yet, or is empty. */
  output: string;
  /**
   * The width of the average: the standard deviation of the weights that it gives to the steps, as a share of the steps; 0.01..0.28.
   */
  width: number;
  /** The step up to which weights are averaged, one with a snapshot. Default: the last one. */
  step?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Called for every snapshot that has been added. */
  onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

/** What {@link makeEma} has made. */
export interface MakeEmaResult {
  /** The step up to which weights are averaged. */
  step: number;
  /** The snapshots of which the average is made, of which there are two for each step. */
  snapshots: number;
  /** Files whose weights are averages, relative to the folder. */
  averaged: string[];
}

const OPTIONS = optionNames<MakeEmaOptions>()({
  model: true,
  output: true,
  width: true,
  step: true,
  signal: true,
  onProgress: true,
});

/**
 * Makes a model of which the weights are an average over a training of any width, from the snapshots that `train()` with
 * `postHocEma` keeps (Karras et al. 2023, https://arxiv.org/abs/2312.02696, section 3.2). Everything else is copied.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a width beyond the range and a step without a snapshot, `ERR_CHECKPOINT` for a folder without
 *   snapshots, `ERR_FILE_NOT_FOUND` without a model, `ERR_IO`, also for an output folder that is not empty; nothing is left behind then
 *
 * @example
 * ```js
 * import { makeEma } from "instruct-pix2pix";
 *
 * await makeEma({ model: "./my-model", width: 0.12, output: "./my-model-ema" });
 * ```
 */
export async function makeEma(options: MakeEmaOptions): Promise<MakeEmaResult> {
  const { model, output, width, step, signal, onProgress } = checked(options);
  if (!(await exists(disk, join(model, MODEL_INDEX))))
    throw new InstructPix2PixError(
      "ERR_FILE_NOT_FOUND",
      `${model}: has no ${MODEL_INDEX}; give the output folder of a run that is over`,
    );
  const averages = await averagesOf(model, step);
  const last = averages.at(-1)!.step;
  const kept = averages.map(({ step, width }) => ({ step, gamma: exponentOf(width) }));
  const coefficients = combination(kept, { step: last, gamma: exponentOf(width) });
  const files = await modelFiles(model);
  const index = { name: MODEL_INDEX, path: join(model, MODEL_INDEX) };
  if (!files.some(({ name }) => name === MODEL_INDEX)) files.push(index);
  const averaged: string[] = [];
  for (const { name } of files)
    if (name.endsWith(".safetensors") && (await exists(disk, join(averages[0]!.folder, name)))) averaged.push(name);
  if (averaged.length === 0)
    throw new InstructPix2PixError("ERR_CHECKPOINT", `${model}: its snapshots are of another model`);
  let done = 0;
  const report = () => onProgress?.({ done: ++done, total: averages.length * averaged.length });
  await makeFolder(output, async (folder) => {
    for (const { name, path } of files) {
      throwIfAborted(signal);
      const target = join(folder, name);
      await mkdir(dirname(target), { recursive: true });
      if (!averaged.includes(name)) await copyFile(path, target);
      else
        await addUp(
          averages.map((average, i) => ({ path: join(average.folder, name), coefficient: coefficients[i]! })),
          target,
          report,
          signal,
        );
    }
  });
  return { step: last, snapshots: averages.length, averaged };
}

function checked(options: MakeEmaOptions): MakeEmaOptions {
  const { model, output, width, step } = checkOptions<MakeEmaOptions>(options, OPTIONS);
  const refuse = (message: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", message);
  for (const [name, path] of Object.entries({ model, output }))
    if (typeof path !== "string" || path === "") throw refuse(`${name} is the path of a folder`);
  if (typeof width !== "number" || !(width >= LEAST_WIDTH && width <= MOST_WIDTH))
    throw refuse(`width is a number from ${LEAST_WIDTH} to ${MOST_WIDTH}, not ${width}`);
  if (step !== undefined && !(Number.isSafeInteger(step) && step > 0))
    throw refuse(`step is a whole number from 1 on, not ${step}`);
  return options;
}

/** All averages up to a step. */
async function averagesOf(model: string, step: number | undefined): Promise<SavedAverage[]> {
  const record = await readRecord(model);
  const found = record ? await listAverages(model, record.run) : [];
  if (found.length === 0)
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${model}: has no snapshots of averages; a run keeps them with postHocEma`,
    );
  if (step === undefined) return found;
  const steps = [...new Set(found.map((average) => average.step))];
  if (!steps.includes(step))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `step: there is no snapshot of step ${step}; there are those of ${steps.join(", ")}`,
    );
  return found.filter((average) => average.step <= step);
}

/** Writes the sum of the tensors of files, in float32. */
async function addUp(
  parts: readonly { path: string; coefficient: number }[],
  target: string,
  onAdded: () => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const sums: Record<string, Tensor> = Object.create(null);
  try {
    for (const { path, coefficient } of parts) {
      throwIfAborted(signal);
      const tensors = await loadSafetensors(path);
      try {
        const names = Object.keys(tensors);
        const known = Object.keys(sums);
        if (known.length > 0 && (names.length !== known.length || names.some((name) => !(name in sums))))
          throw new InstructPix2PixError("ERR_CHECKPOINT", `${path}: holds other tensors than the snapshots before it`);
        for (const [name, tensor] of Object.entries(tensors)) {
          const before = sums[name];
          const terms: [number, Tensor][] = before
            ? [
                [1, before],
                [coefficient, tensor],
              ]
            : [[coefficient, tensor]];
          sums[name] = await Tensor.linearCombination(terms, { dtype: "float32" });
          before?.dispose();
        }
      } finally {
        disposeRecord(tensors);
      }
      onAdded();
    }
    await saveSafetensors(target, sums, { format: "pt" });
  } finally {
    disposeRecord(sums);
  }
}
