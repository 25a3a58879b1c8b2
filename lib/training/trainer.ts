import { InstructPix2PixError } from "../core/errors.js";
import { disposeAll, Tensor } from "../core/tensor.js";
import type { AutoencoderKL } from "../models/autoencoder_kl.js";
import type { CLIPTextModel } from "../models/clip_text_model.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import type { NativeTrainer, NativeTrainerOptions } from "../runtime/contract.js";
import { cancellable, native } from "../runtime/native.js";

export type TrainerOptions = NativeTrainerOptions;

/** One micro-batch, ready for the model. */
export interface MicroBatch {
  /** [B,in_channels,h,w]: noisy latents and image latents. */
  sample: Tensor;
  /** int64 [B] */
  timesteps: Tensor;
  /** Prompt embeddings [B,T,D]; if the text encoder is trained, token ids int64 [B,T]. */
  text: Tensor;
  /** The target: [B,out_channels,h,w]. */
  target: Tensor;
}

export interface StepReport {
  /** 2-norm of all gradients together, before clipping and without the loss scale. */
  gradNorm: number;
  /** The norm was not finite: neither weights nor moments were touched. */
  skipped: boolean;
}

/** The base of all trainers: models trained in place by AdamW, the average of their weights, and the optimiser's state. */
abstract class ModelTrainer {
  protected readonly handle: NativeTrainer;

  protected constructor(handle: NativeTrainer) {
    this.handle = handle;
  }

  /**
   * Divides the gradients by `lossScale`, clips their norm to `maxGradNorm`, updates the weights (AdamW) and clears the
   * gradients. With `emaDecay` it includes {@link updateEma}, in a fused pass; the average is updated even if the step
   * is skipped.
   */
  step(learningRate: number, maxGradNorm: number, lossScale = 1, emaDecay?: number): Promise<StepReport> {
    return native().trainerStep(this.handle, learningRate, maxGradNorm, lossScale, emaDecay ?? null);
  }

  /** average ← average − (1 − decay) · (average − weights) */
  updateEma(decay: number): Promise<void> {
    return native().trainerUpdateEma(this.handle, decay);
  }

  /** Runs `body` with the averaged weights in the model. */
  async withEma<T>(body: () => Promise<T>): Promise<T> {
    await native().trainerSwapEma(this.handle);
    try {
      return await body();
    } finally {
      await native().trainerSwapEma(this.handle);
    }
  }

  /** Clears the gradients accumulated by {@link accumulate}. */
  forgetGradients(): Promise<void> {
    return native().trainerForgetGradients(this.handle);
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
    this.handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async #state(which: "optimizer" | "ema" | "gradients"): Promise<Record<string, Tensor>> {
    const result: Record<string, Tensor> = Object.create(null);
    for (const [name, handle] of Object.entries(await native().trainerState(this.handle, which)))
      result[name] = new Tensor(handle);
    return result;
  }
}

/**
 * Trains a UNet in place, and the text encoder with it if there is one, in float32 or with mixed precision. The arithmetic
 * is native; the caller provides the data and the schedule. An optimiser step is any number of micro-steps ({@link
 * accumulate}) and one {@link step}. In its records, names of the text encoder's parameters begin with "text_encoder.".
 */
export class Trainer extends ModelTrainer {
  readonly unet: UNet2DConditionModel;
  /** Null if not trained. */
  readonly textEncoder: CLIPTextModel | null;

  private constructor(unet: UNet2DConditionModel, textEncoder: CLIPTextModel | null, handle: NativeTrainer) {
    super(handle);
    this.unet = unet;
    this.textEncoder = textEncoder;
  }

  /** @throws `ERR_INVALID_ARGUMENT` if a model's weights are not float32, `ERR_OUT_OF_MEMORY` */
  static async create(
    unet: UNet2DConditionModel,
    options: TrainerOptions,
    textEncoder: CLIPTextModel | null = null,
  ): Promise<Trainer> {
    for (const model of [unet, textEncoder]) model?.expectChanges();
    const handle = await native().createTrainer(unet.handle, textEncoder?.handle ?? null, options);
    return new Trainer(unet, textEncoder, handle);
  }

  /** The weights of what is trained, by parameter name: the tensors themselves. */
  async weights(): Promise<Record<string, Tensor>> {
    const weights = await this.unet.stateDict();
    for (const [name, tensor] of Object.entries((await this.textEncoder?.stateDict()) ?? {}))
      weights[`${TEXT_ENCODER_PREFIX}${name}`] = tensor;
    return weights;
  }

  /**
   * Forward, mean squared error in float32, backward; accumulates the gradients of `factor` · loss.
   *
   * @returns the loss, a tensor of one element: reading it waits for the device
   */
  async accumulate(batch: MicroBatch, factor: number, options: { signal?: AbortSignal } = {}): Promise<Tensor> {
    const { sample, timesteps, text, target } = batch;
    return new Tensor(
      await cancellable(options.signal, (token) =>
        native().trainerMicroStep(
          this.handle,
          sample.handle,
          timesteps.handle,
          text.handle,
          target.handle,
          factor,
          token,
        ),
      ),
    );
  }
}

/** Prefix of the text encoder's parameters in a {@link Trainer}'s records. */
const TEXT_ENCODER_PREFIX = "text_encoder.";

/** Splits a {@link Trainer}'s records by model, without the prefix; the tensors are shared. */
export function splitByModel(tensors: Record<string, Tensor>): {
  unet: Record<string, Tensor>;
  textEncoder: Record<string, Tensor>;
} {
  const [unet, textEncoder]: Record<string, Tensor>[] = [Object.create(null), Object.create(null)];
  for (const [name, tensor] of Object.entries(tensors)) {
    if (name.startsWith(TEXT_ENCODER_PREFIX)) textEncoder![name.slice(TEXT_ENCODER_PREFIX.length)] = tensor;
    else unet![name] = tensor;
  }
  return { unet: unet!, textEncoder: textEncoder! };
}

/**
 * Trains an autoencoder in place to reconstruct pictures: mean squared error, and a small KL term that keeps its
 * latents near a standard normal (Rombach et al. 2022, https://arxiv.org/abs/2112.10752, without discriminator).
 */
export class AutoencoderTrainer extends ModelTrainer {
  private constructor(handle: NativeTrainer) {
    super(handle);
  }

  /** @throws `ERR_INVALID_ARGUMENT` if the weights are not float32, `ERR_OUT_OF_MEMORY` */
  static async create(vae: AutoencoderKL, options: TrainerOptions): Promise<AutoencoderTrainer> {
    vae.expectChanges();
    return new AutoencoderTrainer(await native().createAutoencoderTrainer(vae.handle, options));
  }

  /**
   * Encodes, samples, decodes, and accumulates the gradients of `factor` · (squared error + `klWeight` · KL
   * divergence).
   *
   * @param batch.x pictures [B,C,H,W] in -1..1
   * @param batch.noise standard normal [B,latent_channels,h,w], for the sample of the posterior
   * @param batch.klWeight weight of the mean divergence of a latent's posterior from a standard normal
   * @returns the loss, a tensor of one element
   */
  async accumulate(
    { x, noise, klWeight }: { x: Tensor; noise: Tensor; klWeight: number },
    factor: number,
    options: { signal?: AbortSignal } = {},
  ): Promise<Tensor> {
    return new Tensor(
      await cancellable(options.signal, (token) =>
        native().trainerAutoencoderStep(this.handle, x.handle, noise.handle, klWeight, factor, token),
      ),
    );
  }
}

/**
 * Overwrites tensors with those of the same names, whose shapes and types must be the same.
 *
 * @param what for the message: "optimiser state"
 * @throws `ERR_CHECKPOINT` naming missing or unexpected tensors, `ERR_STATE_DICT`
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
