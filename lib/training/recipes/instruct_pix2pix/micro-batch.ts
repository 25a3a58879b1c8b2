import { Scope } from "../../../core/scope.js";
import { Tensor } from "../../../core/tensor.js";
import { native } from "../../../runtime/native.js";
import type { DDPMScheduler } from "../../../schedulers/ddpm.js";
import type { Draws } from "../../draws.js";
import type { MicroBatch } from "../../trainer.js";

/** A batch encoded by the frozen models, or read from the latent cache. */
export interface EncodedBatch {
  /** Posterior of the edited pictures' latents: mean and log variance [B,C,h,w]. */
  edited: { mean: Tensor; logvar: Tensor };
  /** Mode of the original pictures' latents [B,C,h,w], not multiplied by the scaling factor. */
  original: Tensor;
  /** Prompt embeddings of the instructions [B,T,D]; if the text encoder is trained, their token ids int64 [B,T]. */
  text: Tensor;
}

export interface MicroBatchSettings {
  scheduler: DDPMScheduler;
  /** The training target: the noise, or the velocity (Salimans & Ho 2022). */
  predictionType: "epsilon" | "v_prediction";
  /** `scaling_factor` of the autoencoder; applied to the edited latents, not to the original ones. */
  scalingFactor: number;
  /** Conditioning dropout: probability p each of dropping the text, the picture, and both; undefined: none (and no draw). */
  conditioningDropoutProb: number | undefined;
  /** Embedding or token ids of the empty instruction, one row. */
  nullText: Tensor;
  /** The texts are token ids, for a text encoder that is trained. Default false. */
  trainTextEncoder?: boolean;
}

/**
 * Adds noise to a batch and applies conditioning dropout (Brooks et al. 2023, https://arxiv.org/abs/2211.09800, section
 * 3.2.1). With u uniform in [0,1): u < p drops the text, p ≤ u < 2p both, 2p ≤ u < 3p the picture.
 */
export async function prepareMicroBatch(
  batch: EncodedBatch,
  draws: Draws,
  settings: MicroBatchSettings,
): Promise<MicroBatch> {
  using scope = new Scope();
  const { scheduler, scalingFactor, conditioningDropoutProb: p, nullText } = settings;
  const { mean, logvar } = batch.edited;
  const B = mean.shape[0]!;

  const latents = scope.add(await sampledLatents(mean, logvar, scalingFactor, draws));
  const noise = scope.add(await draws.noise(latents));
  const timesteps = await draws.timesteps(B, scheduler.alphasCumprod.length);
  const steps = Array.from(await timesteps.toArray(), Number);
  const noisy = scope.add(await scheduler.addNoise(latents, noise, steps));

  const dropped = p === undefined ? undefined : await draws.dropout(B);
  const textDropped = dropped?.map((u) => Number(u < 2 * p!));
  const imageKept = dropped?.map((u) => Number(!(u >= p! && u < 3 * p!)));
  const text = textDropped
    ? new Tensor(await native().selectRows(textDropped, nullText.handle, batch.text.handle))
    : await batch.text.clone();
  const image = scope.add(imageKept ? await batch.original.scaleRows(imageKept) : await batch.original.clone());
  return {
    sample: await Tensor.cat([noisy, image], 1),
    timesteps,
    conditions: settings.trainTextEncoder ? { inputIds: text } : { embeddings: text },
    target:
      settings.predictionType === "v_prediction"
        ? await scheduler.getVelocity(latents, noise, steps)
        : await noise.clone(),
  };
}

async function sampledLatents(mean: Tensor, logvar: Tensor, scalingFactor: number, draws: Draws): Promise<Tensor> {
  using half = await logvar.mul(0.5);
  using std = await half.exp();
  using noise = await draws.posteriorNoise(mean.shape, mean.dtype);
  using spread = await std.mul(noise);
  using sample = await mean.add(spread);
  return await sample.mul(scalingFactor);
}

export function disposeMicroBatch(batch: MicroBatch): void {
  const { sample, timesteps, conditions, target } = batch;
  for (const tensor of [sample, timesteps, conditions.embeddings, conditions.inputIds, target]) tensor?.dispose();
}
