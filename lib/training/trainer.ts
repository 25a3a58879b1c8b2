import { InstructPix2PixError } from "../errors.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import type { NativeTrainer, NativeTrainerOptions } from "../native/contract.js";
import { cancellable, native } from "../native/native.js";
import { disposeAll, Tensor } from "../tensor.js";

export type TrainerOptions = NativeTrainerOptions;

/** One micro-batch, ready for the model. */
export interface MicroBatch {
  /** [B,in_channels,h,w]: noisy latents and image latents. */
  sample: Tensor;
  /** int64 [B] */
  timesteps: Tensor;
  /** [B,T,D] */
  encoderHiddenStates: Tensor;
  /** What the model is to predict: [B,out_channels,h,w]. */
  target: Tensor;
}

export interface StepReport {
  /** 2-norm of all gradients together, before clipping and without the loss scale. */
  gradNorm: number;
  /** The norm was not finite: neither weights nor moments were touched. */
  skipped: boolean;
}

/**
 * Trains a UNet in place, in float32 or with mixed precision. The arithmetic is native; what is trained on, in which order
 * and how long is the caller's business. One optimiser step is any number of {@link accumulate} and one {@link step}.
 */
export class Trainer {
  readonly unet: UNet2DConditionModel;
  readonly #handle: NativeTrainer;

  private constructor(unet: UNet2DConditionModel, handle: NativeTrainer) {
    this.unet = unet;
    this.#handle = handle;
  }

  /** @throws `ERR_INVALID_ARGUMENT` if the UNet's weights are not float32, `ERR_OUT_OF_MEMORY` */
  static async create(unet: UNet2DConditionModel, options: TrainerOptions): Promise<Trainer> {
    return new Trainer(unet, await native().createTrainer(unet.handle, options));
  }

  /**
   * Forward, mean squared error in float32, backward; gradients of `factor` · loss are added to those there are.
   *
   * @returns the loss, a tensor of one element: reading it waits for the device, so read it late
   */
  async accumulate(batch: MicroBatch, factor: number, options: { signal?: AbortSignal } = {}): Promise<Tensor> {
    const { sample, timesteps, encoderHiddenStates, target } = batch;
    return new Tensor(
      await cancellable(options.signal, (token) =>
        native().trainerMicroStep(
          this.#handle,
          sample.handle,
          timesteps.handle,
          encoderHiddenStates.handle,
          target.handle,
          factor,
          token,
        ),
      ),
    );
  }

  /**
   * Divides the gradients by `lossScale`, clips their norm to `maxGradNorm`, updates the weights (AdamW) and forgets the
   * gradients.
   */
  step(learningRate: number, maxGradNorm: number, lossScale = 1): Promise<StepReport> {
    return native().trainerStep(this.#handle, learningRate, maxGradNorm, lossScale);
  }

  /** average ← average − (1 − decay) · (average − weights) */
  updateEma(decay: number): Promise<void> {
    return native().trainerUpdateEma(this.#handle, decay);
  }

  /** Runs `body` with the averaged weights in the model's place. */
  async withEma<T>(body: () => Promise<T>): Promise<T> {
    await native().trainerSwapEma(this.#handle);
    try {
      return await body();
    } finally {
      await native().trainerSwapEma(this.#handle);
    }
  }

  /** Drops what {@link accumulate} has added up. */
  forgetGradients(): Promise<void> {
    return native().trainerForgetGradients(this.#handle);
  }

  /** Moments and step count by name: the tensors themselves, which change with every step. */
  optimizerState(): Promise<Record<string, Tensor>> {
    return this.#state("optimizer");
  }

  /** The averaged weights by parameter name: the tensors themselves. */
  emaState(): Promise<Record<string, Tensor>> {
    return this.#state("ema");
  }

  /** The gradients accumulated so far, by parameter name. */
  gradients(): Promise<Record<string, Tensor>> {
    return this.#state("gradients");
  }

  /** Frees moments and average; the model stays. */
  dispose(): void {
    this.#handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async #state(which: "optimizer" | "ema" | "gradients"): Promise<Record<string, Tensor>> {
    const result: Record<string, Tensor> = Object.create(null);
    for (const [name, handle] of Object.entries(await native().trainerState(this.#handle, which)))
      result[name] = new Tensor(handle);
    return result;
  }
}

/**
 * Overwrites tensors with those of the same names, whose shapes and types must be the same.
 *
 * @param what for the message: "optimiser state"
 * @throws `ERR_CHECKPOINT` naming what is missing or left over, `ERR_STATE_DICT`
 */
export async function restoreTensors(
  targets: Record<string, Tensor>,
  sources: Record<string, Tensor>,
  what: string,
): Promise<void> {
  const missing = Object.keys(targets).filter((name) => !Object.hasOwn(sources, name));
  const left = Object.keys(sources).filter((name) => !Object.hasOwn(targets, name));
  if (missing.length > 0 || left.length > 0)
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${what} does not fit the run: ${missing.length} tensors are missing${missing[0] ? ` (${missing[0]}, …)` : ""}, ${left.length} are unknown${left[0] ? ` (${left[0]}, …)` : ""}`,
    );
  const names = Object.keys(targets);
  await native().copyTensors(
    names.map((name) => targets[name]!.handle),
    names.map((name) => sources[name]!.handle),
  );
}

/** Disposes of every tensor of a record. */
export function disposeRecord(tensors: Record<string, Tensor>): void {
  disposeAll(...Object.values(tensors));
}
