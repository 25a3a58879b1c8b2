import type { ComponentSlot, PipelineDescription } from "../components/description.js";
import type { AutoencoderKL } from "../models/autoencoder_kl.js";
import type { CLIPTextModel } from "../models/clip_text_model.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { SCHEDULER_NAMES } from "../schedulers/registry.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import {
  checkLatentChannels,
  checkPrediction,
  checkTextWidth,
  checkVocabulary,
  type UNetCheck,
} from "./compatibility.js";
import { checkSafety, SAFETY_SLOTS, type SafetyComponents } from "./safety.js";

/** What Stable Diffusion pipelines compute with. */
export interface StableDiffusionParts {
  vae: AutoencoderKL;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
}

/** The components of Stable Diffusion pipelines. */
export interface StableDiffusionComponents extends StableDiffusionParts, SafetyComponents {}

/** Where Stable Diffusion pipelines have what they compute with. */
export const STABLE_DIFFUSION_SLOTS: { readonly [K in keyof StableDiffusionParts]: ComponentSlot } = {
  vae: { folder: "vae", classes: ["AutoencoderKL"] },
  textEncoder: { folder: "text_encoder", classes: ["CLIPTextModel"] },
  tokenizer: { folder: "tokenizer", classes: ["CLIPTokenizer", "CLIPTokenizerFast"] },
  unet: { folder: "unet", classes: ["UNet2DConditionModel"] },
  scheduler: { folder: "scheduler", classes: SCHEDULER_NAMES },
};

/**
 * A Stable Diffusion pipeline: any folder with these components, of which the UNet is for the pipeline.
 *
 * @param className in diffusers
 */
export function stableDiffusion(
  className: string,
  checkUNet: UNetCheck,
): PipelineDescription<StableDiffusionComponents> {
  return {
    className,
    components: { ...STABLE_DIFFUSION_SLOTS, ...SAFETY_SLOTS },
    lacking: ["image_encoder"],
    settings: (has) => ({ requires_safety_checker: has(SAFETY_SLOTS.safetyChecker.folder) }),
    check({ unet, vae, textEncoder, tokenizer, scheduler, safetyChecker, featureExtractor }, index) {
      checkUNet(unet, vae, index);
      checkSafety(safetyChecker, featureExtractor);
      checkTextWidth(unet, [textEncoder]);
      checkVocabulary(tokenizer, textEncoder);
      checkPrediction(unet, vae, scheduler);
    },
  };
}

/** InstructPix2Pix: the UNet takes noisy and image latents. */
export const INSTRUCT_PIX2PIX = stableDiffusion("StableDiffusionInstructPix2PixPipeline", checkLatentChannels);
