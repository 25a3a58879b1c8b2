import type { ModelIndex } from "../components/model-index.js";
import { InstructPix2PixError } from "../core/errors.js";
import type { AutoencoderKLConfig } from "../models/autoencoder_kl.js";
import type { CLIPTextConfig } from "../models/clip_text_model.js";
import type { UNet2DConditionConfig } from "../models/unet_2d_condition.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";

type UNetShape = Pick<UNet2DConditionConfig, "in_channels" | "out_channels" | "cross_attention_dim">;
type AutoencoderShape = Pick<AutoencoderKLConfig, "in_channels" | "out_channels" | "latent_channels">;

/** Refuses a UNet that is not for a pipeline. */
export type UNetCheck = (unet: UNetShape, vae: AutoencoderShape, index?: ModelIndex) => void;

/** Colour channels of a picture. */
const COLOURS = 3;

/** Models by the input channels of their UNets, and what runs them. */
const KINDS = [
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
];

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
  if (!extra.includes(given - latents)) {
    const kindOf = (channels: number) => KINDS.find((kind) => kind.channels(latents) === channels);
    const named = index ? `${index.path} names a ${index.className}: ` : "";
    const wanted = extra.map((channels) => {
      const kind = kindOf(latents + channels);
      return kind ? `the ${latents + channels} of ${kind.name}` : `${latents + channels}`;
    });
    const kind = kindOf(given);
    const instead = kind ? `: it is ${kind.name}, for ${kind.use}` : "";
    throw misfit(`${named}the UNet takes ${given} channels, not ${wanted.join(" or ")}${instead}`);
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
    if (vae[key] !== COLOURS) throw misfit(`the autoencoder's "${key}" is ${vae[key]}, but pictures have ${COLOURS}`);
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
 * Checks that a UNet's cross-attention matches a text encoder's width.
 *
 * @throws `ERR_CONFIG`
 */
export function checkTextWidth(unet: UNetShape, { hidden_size }: Pick<CLIPTextConfig, "hidden_size">): void {
  const widths = [unet.cross_attention_dim].flat();
  if (widths.some((width) => width !== hidden_size))
    throw misfit(
      `the text encoder's "hidden_size" is ${hidden_size}, but the UNet's "cross_attention_dim" ${[...new Set(widths)]}`,
    );
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
