import { join } from "node:path";
import type { BaseModel } from "../components/model-index.js";
import type { SavedPipeline } from "../components/save.js";
import type { Tensor } from "../core/tensor.js";
import { loadSafetensors } from "../files/safetensors.js";
import { LORA_FOLDERS } from "../lora/names.js";
import { type ModelFormat, weightsFile } from "../models/format.js";
import { namedAsInFiles, writeModel } from "../models/save.js";
import { disposeRecord, restoreTensors } from "./named-tensors.js";
import type { EditModels } from "./recipes/edit/models.js";
import { splitByModel, type TextEncoders, type Trainer } from "./trainer.js";

/** The weights, or their moving average. */
export type Suffix = "" | "_ema";

/** How a run keeps what it trains: in checkpoints, and in the end. */
export interface TrainedFiles {
  /** Writes a trainer's weights, or their average, into a checkpoint's folder. */
  save(folder: string, suffix: Suffix, tensors: Record<string, Tensor>, step: number): Promise<void>;
  /** Takes over a checkpoint's weights, unless the models were loaded from it. @throws `ERR_CHECKPOINT` */
  restoreWeights(folder: string, trainer: Trainer): Promise<void>;
  /**
   * Takes over a checkpoint's average.
   *
   * @param isPart whether the trainer holds only some of it
   * @throws `ERR_CHECKPOINT`
   */
  restoreAverage(folder: string, average: Record<string, Tensor>, isPart: boolean): Promise<void>;
  /** Where a checkpoint's index says that it is. */
  place(suffix: Suffix): Pick<BaseModel, "trained" | "lora" | "convIn">;
  /** What the run saves in the end. */
  result(tensors: Record<string, Tensor>): Promise<SavedPipeline>;
}

/** Whole models, as folders that diffusers reads. */
export class ModelFiles implements TrainedFiles {
  readonly #models: EditModels;

  constructor(models: EditModels) {
    this.#models = models;
  }

  async save(folder: string, suffix: Suffix, tensors: Record<string, Tensor>, step: number): Promise<void> {
    const { unet } = this.#models;
    const parts = splitByModel(tensors);
    const path = (name: string) => join(folder, `${name}${suffix}`);
    const extra = suffix === "_ema" ? emaConfig(step) : {};
    await writeModel(path("unet"), unet.format, { ...unet.config, ...extra }, parts.unet);
    for (const [component, name, { format, config }] of textsOf(this.#models))
      await writeModel(path(name), format, config, parts[component]);
  }

  async restoreWeights(): Promise<void> {}

  async restoreAverage(folder: string, average: Record<string, Tensor>, isPart: boolean): Promise<void> {
    const { unet } = this.#models;
    const parts = splitByModel(average);
    const file = (name: string, format: ModelFormat) => join(folder, name, weightsFile(format));
    await restoreFile(file("unet_ema", unet.format), parts.unet, "the EMA weights", isPart);
    for (const [component, name, { format }] of textsOf(this.#models))
      await restoreFile(
        file(`${name}_ema`, format),
        namedAsInFiles(format, parts[component]),
        `the EMA weights of ${name}`,
        isPart,
      );
  }

  place(suffix: Suffix): Pick<BaseModel, "trained"> {
    const names = ["unet", ...textsOf(this.#models).map(([, name]) => name)];
    return { trained: Object.fromEntries(names.map((name) => [name, `${name}${suffix}`])) };
  }

  async result(tensors: Record<string, Tensor>): Promise<SavedPipeline> {
    return this.#models.pipeline(splitByModel(tensors));
  }
}

/** The text encoders that are trained, and the names of their folders. */
function textsOf({ textEncoders }: Pick<EditModels, "textEncoders">) {
  return Object.entries(textEncoders).map(
    ([component, model]) =>
      [component as keyof TextEncoders, LORA_FOLDERS[component as keyof TextEncoders], model] as const,
  );
}

/** The keys of diffusers' EMAModel in a model's configuration. */
function emaConfig(step: number) {
  return {
    decay: 0.9999,
    min_decay: 0.0,
    optimization_step: step,
    update_after_step: 0,
    use_ema_warmup: false,
    inv_gamma: 1.0,
    power: 2 / 3,
  };
}

/**
 * Overwrites tensors with those of a file.
 *
 * @param isPart whether the targets are only some of what the file holds
 * @throws `ERR_CHECKPOINT`, `ERR_STATE_DICT`
 */
export async function restoreFile(
  path: string,
  targets: Record<string, Tensor>,
  what: string,
  isPart = false,
): Promise<void> {
  const saved = await loadSafetensors(path);
  try {
    await restoreTensors(targets, saved, what, isPart);
  } finally {
    disposeRecord(saved);
  }
}
