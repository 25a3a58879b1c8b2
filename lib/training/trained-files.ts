import { join } from "node:path";
import type { BaseModel } from "../components/model-index.js";
import type { SavedPipeline } from "../components/save.js";
import type { Tensor } from "../core/tensor.js";
import { loadSafetensors } from "../files/safetensors.js";
import { type ModelFormat, weightsFile } from "../models/format.js";
import { namedAsInFiles, writeModel } from "../models/save.js";
import { disposeRecord, restoreTensors } from "./named-tensors.js";
import type { EditModels } from "./recipes/edit/models.js";
import { splitByModel, type Trainer } from "./trainer.js";

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
    const { unet, textEncoder } = this.#models;
    const parts = splitByModel(tensors);
    const path = (name: string) => join(folder, `${name}${suffix}`);
    const extra = suffix === "_ema" ? emaConfig(step) : {};
    await writeModel(path("unet"), unet.format, { ...unet.config, ...extra }, parts.unet);
    if (textEncoder) await writeModel(path("text_encoder"), textEncoder.format, textEncoder.config, parts.textEncoder);
  }

  async restoreWeights(): Promise<void> {}

  async restoreAverage(folder: string, average: Record<string, Tensor>, isPart: boolean): Promise<void> {
    const { unet, textEncoder } = this.#models;
    const parts = splitByModel(average);
    const file = (name: string, format: ModelFormat) => join(folder, name, weightsFile(format));
    await restoreFile(file("unet_ema", unet.format), parts.unet, "the EMA weights", isPart);
    if (textEncoder)
      await restoreFile(
        file("text_encoder_ema", textEncoder.format),
        namedAsInFiles(textEncoder.format, parts.textEncoder),
        "the EMA weights of the text encoder",
        isPart,
      );
  }

  place(suffix: Suffix): Pick<BaseModel, "trained"> {
    const { textEncoder } = this.#models;
    return {
      trained: { unet: `unet${suffix}`, ...(textEncoder && { text_encoder: `text_encoder${suffix}` }) },
    };
  }

  async result(tensors: Record<string, Tensor>): Promise<SavedPipeline> {
    return this.#models.pipeline(splitByModel(tensors));
  }
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
