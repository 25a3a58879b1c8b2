import { Scope } from "../../../core/scope.js";
import { disposeAll, type ModelDType, Tensor } from "../../../core/tensor.js";
import { native } from "../../../runtime/native.js";
import type { DDPMScheduler } from "../../../schedulers/ddpm.js";
import type { Draws } from "../../draws.js";
import type { ConditioningDropout } from "../../dropout.js";
import { huberDelta, minSnrWeight } from "../../loss-weights.js";
import type { TrainOptions } from "../../options.js";
import type { BatchLoss, MicroBatch, TrainingConditions } from "../../trainer.js";

/** Instructions, one row each. */
export interface TextRows {
  /** Prompt embeddings [B,T,D]; not if the text encoder is trained. */
  readonly embeddings?: Tensor;
  /** Token ids int64 [B,T], if the text encoder is trained. */
  readonly inputIds?: Tensor;
  /** The same for Stable Diffusion XL's second text encoder. */
  readonly inputIds2?: Tensor;
  /** Pooled prompt embeddings [B,E]; not if the text encoder is trained. */
  readonly pooled?: Tensor;
}

/** A posterior of the autoencoder: mean and log variance [B,C,h,w]. */
export interface LatentPosterior {
  mean: Tensor;
  logvar: Tensor;
}

/** A batch encoded by the frozen models, or read from the latent cache. */
export interface EncodedBatch {
  edited: LatentPosterior;
  /** That of the original images, not multiplied by the scaling factor; the log variance only where they are sampled. */
  original: { mean: Tensor; logvar?: Tensor };
  text: TextRows;
}

export interface MicroBatchSettings {
  scheduler: DDPMScheduler;
  /** The training target: the noise, or the velocity (Salimans & Ho 2022). */
  predictionType: "epsilon" | "v_prediction";
  /** `scaling_factor` of the autoencoder; applied to the edited latents, not to the original ones. */
  scalingFactor: number;
  /** Type of the latents once they are sampled. Default the autoencoder's. */
  dtype?: ModelDType;
  /** Conditioning dropout: probabilities of dropping the text alone, the image alone, and both; undefined: none (and no draw). */
  dropout: ConditioningDropout | undefined;
  /** What is minimised. Default the mean squared error. */
  loss?: LossSettings;
  /** What is added to the noise for a whole channel. Default 0. */
  noiseOffset?: number;
  /** What is added to the input's noise alone. Default 0. */
  inputPerturbation?: number;
  /** The empty instruction, one row: it replaces dropped ones, except for what is not in it. */
  nullText: TextRows;
  /** What the trainer is given for the texts, beside latents of this shape. Default the texts themselves. */
  conditions?: (text: TextRows, latents: readonly number[]) => TrainingConditions | Promise<TrainingConditions>;
}

/** The options that decide what the loss of a row counts. */
export type LossSettings = Pick<TrainOptions, "snrGamma" | "lossType" | "huberC" | "huberSchedule">;

/** A micro-batch, and the tensors of its conditions that belong to it. */
export interface PreparedMicroBatch extends MicroBatch {
  text: TextRows;
}

/**
 * Adds noise to a batch and applies conditioning dropout (Brooks et al. 2023, https://arxiv.org/abs/2211.09800, section
 * 3.2.1). With u uniform in [0,1): u < text drops the text, then u < text + both both, then u < text + both + image the image.
 */
export async function prepareMicroBatch(
  batch: EncodedBatch,
  draws: Draws,
  settings: MicroBatchSettings,
): Promise<PreparedMicroBatch> {
  using scope = new Scope();
  const { scheduler, scalingFactor, dropout: p, nullText, noiseOffset = 0, inputPerturbation = 0 } = settings;
  const B = batch.edited.mean.shape[0]!;
  const inType = async (tensor: Tensor) => {
    const { dtype = tensor.dtype } = settings;
    if (tensor.dtype === dtype) return tensor;
    using sampled = tensor;
    return await sampled.to({ dtype });
  };

  using sampled = await sample(batch.edited, draws);
  const latents = scope.add(await inType(await sampled.mul(scalingFactor)));
  let noise = scope.add(await draws.noise(latents));
  // In this order as in diffusers' scripts.
  if (noiseOffset > 0) noise = scope.add(await withOffset(noise, noiseOffset, draws));
  const added = inputPerturbation > 0 ? scope.add(await perturbed(noise, inputPerturbation, draws)) : noise;
  const timesteps = await draws.timesteps(B, scheduler.alphasCumprod.length);
  const steps = Array.from(await timesteps.toArray(), Number);
  const noisy = scope.add(await scheduler.addNoise(latents, added, steps));
  const { mean, logvar } = batch.original;
  const original = scope.add(await inType(logvar ? await sample({ mean, logvar }, draws) : await mean.clone()));

  const dropped = p === undefined ? undefined : await draws.dropout(B);
  const textDropped = dropped?.map((u) => Number(u < p!.text + p!.both));
  const imageKept = dropped?.map((u) => Number(!(u >= p!.text && u < p!.text + p!.both + p!.image)));
  const text: Record<string, Tensor> = {};
  for (const [name, rows] of entriesOf(batch.text)) {
    const empty = nullText[name];
    text[name] =
      textDropped && empty
        ? new Tensor(await native().selectRows(textDropped, empty.handle, rows.handle))
        : await rows.clone();
  }
  const image = imageKept ? scope.add(await original.scaleRows(imageKept)) : original;
  return {
    sample: await Tensor.cat([noisy, image], 1),
    timesteps,
    text,
    conditions: (await settings.conditions?.(text, latents.shape)) ?? text,
    target:
      settings.predictionType === "v_prediction"
        ? await scheduler.getVelocity(latents, noise, steps)
        : await noise.clone(),
    loss: lossOf(steps, settings),
  };
}

/** Noise that is the same for a channel's pixels is added. */
async function withOffset(noise: Tensor, offset: number, draws: Draws): Promise<Tensor> {
  const [B, C] = noise.shape as [number, number];
  using drawn = await draws.normal([B, C, 1, 1], noise.dtype);
  using scaled = await drawn.mul(offset);
  return await noise.add(scaled);
}

async function perturbed(noise: Tensor, strength: number, draws: Draws): Promise<Tensor> {
  using drawn = await draws.noise(noise);
  using scaled = await drawn.mul(strength);
  return await noise.add(scaled);
}

function lossOf(steps: readonly number[], { scheduler, loss, predictionType }: MicroBatchSettings): BatchLoss {
  const { snrGamma, lossType = "l2", huberC, huberSchedule } = loss ?? {};
  const { alphasCumprod } = scheduler;
  const rows = (perStep: (step: number) => number) => Tensor.from(steps.map(perStep), [steps.length]);
  return {
    kind: lossType,
    ...(lossType !== "l2" && {
      deltas: rows((t) => huberDelta(huberSchedule!, huberC!, t, alphasCumprod.length, alphasCumprod[t]!)),
    }),
    ...(snrGamma !== undefined && { weights: rows((t) => minSnrWeight(alphasCumprod[t]!, snrGamma, predictionType)) }),
  };
}

async function sample({ mean, logvar }: LatentPosterior, draws: Draws): Promise<Tensor> {
  using half = await logvar.mul(0.5);
  using std = await half.exp();
  using noise = await draws.posteriorNoise(mean.shape, mean.dtype);
  using spread = await std.mul(noise);
  return await mean.add(spread);
}

/** The texts there are, by name. */
export function entriesOf(text: TextRows): [keyof TextRows, Tensor][] {
  return Object.entries(text) as [keyof TextRows, Tensor][];
}

export function disposeMicroBatch({ sample, timesteps, text, target, loss }: PreparedMicroBatch): void {
  disposeAll(sample, timesteps, ...Object.values(text), target);
  loss?.deltas?.dispose();
  loss?.weights?.dispose();
}

export function disposeEncoded({ edited, original, text }: EncodedBatch): void {
  for (const tensor of [edited.mean, edited.logvar, original.mean, original.logvar, ...Object.values(text)])
    tensor?.dispose();
}
