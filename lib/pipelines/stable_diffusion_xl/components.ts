import type {
  ComponentSlot,
  PipelineConfigs,
  PipelineDescription,
  PipelineSetting,
} from "../../components/description.js";
import type { AutoencoderKL } from "../../models/autoencoder_kl.js";
import type { CLIPTextModel } from "../../models/clip_text_model.js";
import type { CLIPTextModelWithProjection } from "../../models/clip_text_model_with_projection.js";
import type { UNet2DConditionModel } from "../../models/unet_2d_condition.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../../tokenizer/clip_tokenizer.js";
import { checkAddedWidth, checkPrediction, checkTextWidth, checkVocabulary, type UNetCheck } from "../compatibility.js";
import { STABLE_DIFFUSION_SLOTS } from "../components.js";

/** The components of Stable Diffusion XL pipelines, and the setting that all of them have. */
export interface StableDiffusionXLComponents {
  vae: AutoencoderKL;
  /** Null in refiners, as its tokenizer. */
  textEncoder: CLIPTextModel | null;
  textEncoder2: CLIPTextModelWithProjection;
  tokenizer: CLIPTokenizer | null;
  tokenizer2: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
  /** Whether zeros are the embeddings of a negative prompt that is not given; else it is the empty prompt. Default true. */
  forceZerosForEmptyPrompt?: boolean | undefined;
  /**
   * Kept for diffusers, which marks its images invisibly if this is true, or null and the library for it is installed. Here
   * images are never marked. Default null.
   */
  addWatermarker?: boolean | null | undefined;
}

/** Those of pipelines that a refiner's UNet is for. */
export interface StableDiffusionXLRefinerComponents extends StableDiffusionXLComponents {
  /** Whether the UNet takes an aesthetic score instead of the target size, as refiners do. Default false. */
  requiresAestheticsScore?: boolean | undefined;
}

/** Those of `StableDiffusionXLInstructPix2PixPipeline`. */
export interface StableDiffusionXLEditComponents extends StableDiffusionXLComponents {
  /** Whether the UNet takes scaled image latents, as CosXL Edit does. Default false. */
  isCosxlEdit?: boolean | undefined;
}

const COMPONENTS = {
  ...STABLE_DIFFUSION_SLOTS,
  textEncoder: { ...STABLE_DIFFUSION_SLOTS.textEncoder, optional: true },
  tokenizer: { ...STABLE_DIFFUSION_SLOTS.tokenizer, optional: true },
  textEncoder2: { folder: "text_encoder_2", classes: ["CLIPTextModelWithProjection"] } satisfies ComponentSlot,
  tokenizer2: { ...STABLE_DIFFUSION_SLOTS.tokenizer, folder: "tokenizer_2" },
  forceZerosForEmptyPrompt: { key: "force_zeros_for_empty_prompt", fallback: true } satisfies PipelineSetting,
  addWatermarker: { key: "add_watermarker", fallback: null, unwritten: true } satisfies PipelineSetting,
} as const;

/** What diffusers' classes have besides, but for the one that edits. */
const LACKING = ["feature_extractor", "image_encoder"];

/** A pipeline for base models alone. */
export function stableDiffusionXL(
  className: string,
  checkUNet: UNetCheck,
): PipelineDescription<StableDiffusionXLComponents> {
  return {
    className,
    components: COMPONENTS,
    lacking: LACKING,
    check: (parts, index) => checkParts(parts, checkUNet, false, index),
  };
}

/** A pipeline for base models and refiners. */
export function stableDiffusionXLRefiner(
  className: string,
  checkUNet: UNetCheck,
): PipelineDescription<StableDiffusionXLRefinerComponents> {
  return {
    className,
    components: { ...COMPONENTS, requiresAestheticsScore: { key: "requires_aesthetics_score", fallback: false } },
    lacking: LACKING,
    check: (parts, index) => checkParts(parts, checkUNet, parts.requiresAestheticsScore ?? false, index),
  };
}

/** A pipeline that edits. */
export function stableDiffusionXLEdit(
  className: string,
  checkUNet: UNetCheck,
): PipelineDescription<StableDiffusionXLEditComponents> {
  return {
    className,
    components: { ...COMPONENTS, isCosxlEdit: { key: "is_cosxl_edit", fallback: false, unwritten: true } },
    check: (parts, index) => checkParts(parts, checkUNet, false, index),
  };
}

/** What is known of the components of any of these pipelines without their weights. */
export type XLConfigs = Pick<
  PipelineConfigs<StableDiffusionXLComponents>,
  "vae" | "textEncoder" | "textEncoder2" | "tokenizer" | "tokenizer2" | "unet" | "scheduler"
>;

function checkParts(
  parts: XLConfigs,
  checkUNet: UNetCheck,
  requiresAestheticsScore: boolean,
  index?: Parameters<UNetCheck>[2],
): void {
  const { unet, vae, scheduler } = parts;
  checkUNet(unet, vae, index);
  checkTexts(parts, requiresAestheticsScore);
  checkPrediction(unet, vae, scheduler);
}

/** Checks that text encoders, tokenizers and UNet fit together. @throws `ERR_CONFIG` */
export function checkTexts(
  { unet, textEncoder, textEncoder2, tokenizer, tokenizer2 }: Omit<XLConfigs, "vae" | "scheduler">,
  requiresAestheticsScore: boolean,
): void {
  checkTextWidth(unet, textEncoder && tokenizer ? [textEncoder, textEncoder2] : [textEncoder2]);
  if (textEncoder && tokenizer) checkVocabulary(tokenizer, textEncoder);
  checkVocabulary(tokenizer2, textEncoder2);
  checkAddedWidth(unet, Number(textEncoder2.projection_dim), requiresAestheticsScore);
}
