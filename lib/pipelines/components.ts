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

/** The components of Stable Diffusion pipelines. */
export interface StableDiffusionComponents {
  vae: AutoencoderKL;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
}

/** Where Stable Diffusion pipelines have their components. */
export const STABLE_DIFFUSION_SLOTS: { readonly [K in keyof StableDiffusionComponents]: ComponentSlot } = {
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
    components: STABLE_DIFFUSION_SLOTS,
    lacking: ["feature_extractor", "image_encoder", "safety_checker"],
    settings: { requires_safety_checker: false },
    check({ unet, vae, textEncoder, tokenizer, scheduler }, index) {
      checkUNet(unet, vae, index);
      checkTextWidth(unet, textEncoder);
      checkVocabulary(tokenizer, textEncoder);
      checkPrediction(unet, vae, scheduler);
    },
  };
}

/** InstructPix2Pix: the UNet takes noisy and image latents. */
export const INSTRUCT_PIX2PIX = stableDiffusion("StableDiffusionInstructPix2PixPipeline", checkLatentChannels);
