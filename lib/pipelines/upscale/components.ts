import type { PipelineConfigs, PipelineDescription } from "../../components/description.js";
import { InstructPix2PixError } from "../../core/errors.js";
import type { CLIPTextConfig } from "../../models/clip_text_model.js";
import type { UNet2DConditionConfig } from "../../models/unet_2d_condition.js";
import { SCHEDULER_NAMES } from "../../schedulers/registry.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import { SigmaScheduler } from "../../schedulers/sigma-scheduler.js";
import {
  checkLatentUpscaler,
  checkPictureChannels,
  checkPrediction,
  checkTextWidth,
  checkVocabulary,
} from "../compatibility.js";
import { STABLE_DIFFUSION_SLOTS, type StableDiffusionComponents, type StableDiffusionParts } from "../components.js";
import { checkSafety, SAFETY_SLOTS } from "../safety.js";

/** The components of the ×4 upscaler. */
export interface UpscaleComponents extends StableDiffusionComponents {
  /** Adds noise to the image that is upscaled. */
  lowResScheduler: Scheduler;
  /** The largest `noiseLevel`. Default 350. */
  maxNoiseLevel?: number | undefined;
}

/** The largest noise level, where a model does not name another. */
export const MOST_NOISE = 350;

/** Width of the noise level's embedding in front of the pooled text. */
export const NOISE_LEVEL_WIDTH = 128;

/** ×2 in latents. */
export const LATENT_UPSCALE: PipelineDescription<StableDiffusionParts> = {
  className: "StableDiffusionLatentUpscalePipeline",
  components: STABLE_DIFFUSION_SLOTS,
  check({ unet, vae, textEncoder, tokenizer, scheduler }, index) {
    checkLatentUpscaler(unet, vae, index);
    checkTextWidth(unet, [textEncoder]);
    checkPooledWidth(unet, textEncoder);
    checkVocabulary(tokenizer, textEncoder);
    withSigmas(scheduler);
  },
};

/** ×4 in pixels. */
export const UPSCALE: PipelineDescription<UpscaleComponents> = {
  className: "StableDiffusionUpscalePipeline",
  components: {
    ...STABLE_DIFFUSION_SLOTS,
    ...SAFETY_SLOTS,
    lowResScheduler: { folder: "low_res_scheduler", classes: SCHEDULER_NAMES },
    maxNoiseLevel: { key: "max_noise_level", fallback: MOST_NOISE },
  },
  lacking: ["watermarker"],
  check(parts: PipelineConfigs<UpscaleComponents>, index) {
    const { unet, vae, textEncoder, tokenizer, scheduler, safetyChecker, featureExtractor } = parts;
    checkSafety(safetyChecker, featureExtractor);
    checkPictureChannels(unet, vae, index);
    checkTextWidth(unet, [textEncoder]);
    checkVocabulary(tokenizer, textEncoder);
    checkPrediction(unet, vae, scheduler);
  },
};

/**
 * Checks that a UNet takes the pooled text of a text encoder beside the noise level.
 *
 * @throws `ERR_CONFIG`
 */
export function checkPooledWidth(
  unet: Pick<UNet2DConditionConfig, "time_cond_proj_dim">,
  { hidden_size: width }: Pick<CLIPTextConfig, "hidden_size">,
): void {
  const given = NOISE_LEVEL_WIDTH + width;
  if (unet.time_cond_proj_dim === given) return;
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `noise level and pooled text make ${given} features, but the UNet's "time_cond_proj_dim" is ${unet.time_cond_proj_dim}`,
  );
}

/**
 * A scheduler that steps in noise levels, on which the ×2 upscaler's predictions depend.
 *
 * @throws `ERR_CONFIG` for another one
 */
export function withSigmas(scheduler: Scheduler): SigmaScheduler {
  if (scheduler instanceof SigmaScheduler) return scheduler;
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `the ×2 latent upscaler needs a scheduler with noise levels, such as EulerDiscreteScheduler, not ${scheduler.className}`,
  );
}
