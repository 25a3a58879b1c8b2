import type { ModelIndex } from "../components/model-index.js";
import { InstructPix2PixError } from "../core/errors.js";
import type { AutoencoderKLConfig } from "../models/autoencoder_kl.js";
import type { CLIPTextConfig } from "../models/clip_text_model.js";
import type { UNet2DConditionConfig } from "../models/unet_2d_condition.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";

type UNetShape = Pick<UNet2DConditionConfig, "in_channels" | "out_channels" | "cross_attention_dim">;
type AddedShape = Pick<
  UNet2DConditionConfig,
  "addition_embed_type" | "addition_time_embed_dim" | "projection_class_embeddings_input_dim"
>;
type AutoencoderShape = Pick<AutoencoderKLConfig, "in_channels" | "out_channels" | "latent_channels">;

/** Refuses a UNet that is not for a pipeline. */
export type UNetCheck = (unet: UNetShape, vae: AutoencoderShape, index?: ModelIndex) => void;

/** Colour channels of an image. */
const COLOURS = 3;

interface Kind {
  /** Input channels of its UNet. */
  channels(latents: number): number;
  /** Output channels. Default as many as latents have, or others for a learned variance. */
  outputs?(latents: number): number;
  name: string;
  /** What runs it. */
  use: string;
}

/** Models by the channels of their UNets, and what runs them. */
const KINDS: readonly Kind[] = [
  {
    channels: (latents: number) => latents,
    name: "a text-to-image model",
    use: "StableDiffusionPipeline and StableDiffusionImg2ImgPipeline (ip2p generate)",
  },
  {
    channels: (latents: number) => 2 * latents,
    name: "an InstructPix2Pix model",
    use: "InstructPix2PixPipeline (ip2p edit)",
  },
  {
    channels: (latents: number) => 2 * latents + 1,
    name: "an inpainting model",
    use: "StableDiffusionInpaintPipeline (ip2p generate with --image and --mask)",
  },
  {
    channels: (latents: number) => latents + COLOURS,
    name: "a ×4 upscaler",
    use: "StableDiffusionUpscalePipeline (ip2p upscale --scale 4)",
  },
  {
    channels: (latents: number) => 2 * latents,
    outputs: (latents: number) => latents + 1,
    name: "a ×2 latent upscaler",
    use: "StableDiffusionLatentUpscalePipeline (ip2p upscale --scale 2)",
  },
];

/** What a UNet is for; undefined for what is not known. */
function kindOf({ in_channels, out_channels }: UNetShape, latents: number): Kind | undefined {
  const fitting = KINDS.filter(({ channels }) => channels(latents) === in_channels);
  return fitting.find(({ outputs }) => outputs?.(latents) === out_channels) ?? fitting.find(({ outputs }) => !outputs);
}

/**
 * Checks that a UNet takes noisy latents and a number of other channels.
 *
 * @param extra numbers of channels behind the latents that the pipeline can give
 * @throws `ERR_CONFIG` saying what the UNet is for
 */
export function checkUNetChannels(
  unet: UNetShape,
  vae: AutoencoderShape,
  extra: readonly number[],
  index?: ModelIndex,
): void {
  const { latent_channels: latents } = vae;
  const { in_channels: given } = unet;
  const kind = kindOf(unet, latents);
  const instead = kind ? `: it is ${kind.name}, for ${kind.use}` : "";
  const named = index ? `${index.path} names a ${index.className}: ` : "";
  if (!extra.includes(given - latents)) {
    const wanted = extra.map((channels) => {
      const known = KINDS.find((each) => !each.outputs && each.channels(latents) === latents + channels);
      return known ? `the ${latents + channels} of ${known.name}` : `${latents + channels}`;
    });
    throw misfit(`${named}the UNet takes ${given} channels, not ${wanted.join(" or ")}${instead}`);
  }
  if (kind?.outputs) throw misfit(`${named}the UNet predicts ${unet.out_channels} channels${instead}`);
  checkColours(vae);
}

/** As {@link checkUNetChannels}, for UNets that take noisy latents and an image of their size. */
export function checkPictureChannels(unet: UNetShape, vae: AutoencoderShape, index?: ModelIndex): void {
  checkUNetChannels(unet, vae, [COLOURS], index);
}

/**
 * Checks that a UNet is a ×2 latent upscaler's: it takes noisy latents and latents, and predicts a channel more.
 *
 * @throws `ERR_CONFIG` saying what the UNet is for
 */
export function checkLatentUpscaler(unet: UNetShape, vae: AutoencoderShape, index?: ModelIndex): void {
  const { latent_channels: latents } = vae;
  const kind = kindOf(unet, latents);
  if (!kind?.outputs) {
    const { in_channels: inputs, out_channels: outputs } = unet;
    const named = index ? `${index.path} names a ${index.className}: ` : "";
    const wanted = `not the ${2 * latents} and ${latents + 1} of a ×2 latent upscaler`;
    const instead = kind ? `: it is ${kind.name}, for ${kind.use}` : "";
    throw misfit(`${named}the UNet takes ${inputs} channels and predicts ${outputs}, ${wanted}${instead}`);
  }
  checkColours(vae);
}

/** As {@link checkUNetChannels}, for UNets that take noisy and image latents. */
export function checkLatentChannels(unet: UNetShape, vae: AutoencoderShape, index?: ModelIndex): void {
  checkUNetChannels(unet, vae, [vae.latent_channels], index);
}

/** As {@link checkUNetChannels}, for UNets that take noisy latents alone. */
export function checkUNetInput(unet: UNetShape, vae: AutoencoderShape, index?: ModelIndex): void {
  checkUNetChannels(unet, vae, [0], index);
}

function checkColours(vae: AutoencoderShape): void {
  for (const key of ["in_channels", "out_channels"] as const)
    if (vae[key] !== COLOURS) throw misfit(`the autoencoder's "${key}" is ${vae[key]}, but images have ${COLOURS}`);
}

/**
 * Checks that a scheduler supports a UNet's output channels.
 *
 * @throws `ERR_CONFIG`
 */
export function checkPrediction(unet: UNetShape, { latent_channels: latents }: AutoencoderShape, by: Scheduler): void {
  const learned = String(by.config.variance_type ?? "").startsWith("learned");
  // DPM-Solver itself uses only the first three channels of such a prediction.
  if (learned && by.className === "DPMSolverMultistepScheduler") return;
  const expected = learned && by.className === "DDPMScheduler" ? 2 * latents : latents;
  if (unet.out_channels !== expected)
    throw misfit(`the UNet predicts ${unet.out_channels} channels, but the ${by.className} takes ${expected}`);
}

/**
 * Checks that a UNet's cross-attention matches the width of the embeddings of one text encoder, or of several.
 *
 * @throws `ERR_CONFIG`
 */
export function checkTextWidth(unet: UNetShape, encoders: readonly Pick<CLIPTextConfig, "hidden_size">[]): void {
  const widths = [unet.cross_attention_dim].flat();
  const sizes = encoders.map(({ hidden_size }) => hidden_size);
  const width = sizes.reduce((sum, size) => sum + size, 0);
  if (widths.every((expected) => expected === width)) return;
  const given =
    sizes.length === 1 ? `text encoder's "hidden_size" is ${width}` : `text encoders' "hidden_size"s are ${sizes}`;
  throw misfit(`the ${given}, but the UNet's "cross_attention_dim" ${[...new Set(widths)]}`);
}

/**
 * Checks that a UNet takes pooled text embeddings and a number of sizes, crops or scores, as SDXL's do.
 *
 * @param width of the pooled embeddings
 * @param requiresAestheticsScore whether an aesthetic score takes the target size's place
 * @throws `ERR_CONFIG`
 */
export function checkAddedWidth(unet: AddedShape, width: number, requiresAestheticsScore: boolean): void {
  const { addition_time_embed_dim: perNumber, projection_class_embeddings_input_dim: expected } = unet;
  if (unet.addition_embed_type !== "text_time" || perNumber === null || expected === null)
    throw misfit(
      `the UNet's "addition_embed_type" is ${unet.addition_embed_type}: it is not a Stable Diffusion XL model`,
    );
  const given = width + perNumber * sizeNumbers(requiresAestheticsScore);
  if (given === expected) return;
  const fits = width + perNumber * sizeNumbers(!requiresAestheticsScore) === expected;
  const advice = fits
    ? `; give requiresAestheticsScore: ${!requiresAestheticsScore} or load the model as it was made`
    : "";
  throw misfit(
    `pooled text and sizes make ${given} features, but the UNet's "projection_class_embeddings_input_dim" is ${expected}${advice}`,
  );
}

/** How many numbers describe sizes: original size, crop, and target size or aesthetic score. */
export function sizeNumbers(requiresAestheticsScore: boolean): number {
  return requiresAestheticsScore ? 5 : 6;
}

/**
 * Checks that a text encoder's vocabulary covers a tokenizer's ids.
 *
 * @throws `ERR_CONFIG`
 */
export function checkVocabulary(tokenizer: CLIPTokenizer, { vocab_size }: Pick<CLIPTextConfig, "vocab_size">): void {
  const { bosTokenId, eosTokenId, padTokenId } = tokenizer;
  const needed = Math.max(tokenizer.vocabSize, bosTokenId + 1, eosTokenId + 1, (padTokenId ?? 0) + 1);
  if (needed > vocab_size)
    throw misfit(`the tokenizer has ${needed} ids, but the text encoder's "vocab_size" is ${vocab_size}`);
}

function misfit(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_CONFIG", problem);
}
