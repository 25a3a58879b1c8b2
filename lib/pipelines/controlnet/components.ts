import type { ComponentSlot, PipelineDescription } from "../../components/description.js";
import { InstructPix2PixError } from "../../core/errors.js";
import type { AutoencoderKLConfig } from "../../models/autoencoder_kl.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import type { ControlNetModel } from "../../models/controlnet.js";
import { type ControlNetConfig, controlScaleOf } from "../../models/controlnet-config.js";
import type { UNet2DConditionConfig } from "../../models/unet_2d_condition.js";
import { checkUNetInput, type UNetCheck } from "../compatibility.js";
import { type StableDiffusionComponents, stableDiffusion } from "../components.js";
import {
  type StableDiffusionXLComponents,
  type StableDiffusionXLRefinerComponents,
  stableDiffusionXL,
  stableDiffusionXLRefiner,
} from "../stable_diffusion_xl/components.js";

/** One ControlNet, or several whose residuals are added up. */
export type ControlNets = ControlNetModel | readonly ControlNetModel[];

/** The ControlNets of a pipeline. */
export interface ControlNetComponents {
  /** One ControlNet; or several, for which a call gives a list of control images. */
  controlnet: ControlNets;
}

/** The components of Stable Diffusion pipelines with ControlNets. */
export interface StableDiffusionControlNetComponents extends StableDiffusionComponents, ControlNetComponents {}

/** The components of Stable Diffusion XL pipelines with ControlNets. */
export interface StableDiffusionXLControlNetComponents extends StableDiffusionXLComponents, ControlNetComponents {}

/** Those of `StableDiffusionXLControlNetImg2ImgPipeline`. */
export interface StableDiffusionXLControlNetRefinerComponents
  extends StableDiffusionXLRefinerComponents,
    ControlNetComponents {}

const CONTROLNET: ComponentSlot = { folder: "controlnet", classes: ["ControlNetModel"], list: "MultiControlNetModel" };

/** The ControlNets of a pipeline as a list. */
export function netsOf(controlnet: ControlNets | undefined): readonly ControlNetModel[] {
  if (controlnet === undefined) return [];
  return Array.isArray(controlnet) ? controlnet : [controlnet as ControlNetModel];
}

type Configs = {
  unet: Readonly<UNet2DConditionConfig>;
  vae: Readonly<AutoencoderKLConfig>;
  controlnet: Readonly<ControlNetConfig> | readonly Readonly<ControlNetConfig>[];
};

function withControlNets<C extends object>(
  base: PipelineDescription<C>,
): PipelineDescription<C & ControlNetComponents> {
  const components = { ...base.components, controlnet: CONTROLNET };
  return {
    ...base,
    load: undefined,
    components: components as PipelineDescription<C & ControlNetComponents>["components"],
    check(parts, index) {
      base.check?.(parts as Parameters<NonNullable<typeof base.check>>[0], index);
      checkControlNets(parts as unknown as Configs);
    },
  };
}

/** A pipeline of Stable Diffusion with ControlNets. */
export function stableDiffusionControlNet(
  className: string,
  checkUNet: UNetCheck = checkUNetInput,
): PipelineDescription<StableDiffusionControlNetComponents> {
  return withControlNets<StableDiffusionComponents>(stableDiffusion(className, checkUNet));
}

/** A pipeline of Stable Diffusion XL with ControlNets. */
export function stableDiffusionXLControlNet(
  className: string,
): PipelineDescription<StableDiffusionXLControlNetComponents> {
  return withControlNets<StableDiffusionXLComponents>(stableDiffusionXL(className, checkUNetInput));
}

/** The same for refiners too. */
export function stableDiffusionXLRefinerControlNet(
  className: string,
): PipelineDescription<StableDiffusionXLControlNetRefinerComponents> {
  return withControlNets<StableDiffusionXLRefinerComponents>(stableDiffusionXLRefiner(className, checkUNetInput));
}

/**
 * Checks that ControlNets are for a UNet and its autoencoder.
 *
 * @throws `ERR_CONFIG` naming what differs
 */
export function checkControlNets({ unet, vae, controlnet }: Configs): void {
  const nets = Array.isArray(controlnet) ? controlnet : [controlnet as ControlNetConfig];
  for (const [i, net] of nets.entries()) {
    const which = nets.length > 1 ? `ControlNet ${i + 1}` : "the ControlNet";
    const misfit = (key: string, has: unknown, needed: string) =>
      new InstructPix2PixError(
        "ERR_CONFIG",
        `${which}'s "${key}" is ${JSON.stringify(has)}, but ${needed}: it is for another base model`,
      );
    if (net.in_channels !== vae.latent_channels)
      throw misfit("in_channels", net.in_channels, `latents have ${vae.latent_channels} channels`);
    const levels = unet.block_out_channels.length;
    const spread = (value: number | number[]) => (Array.isArray(value) ? value : Array<number>(levels).fill(value));
    for (const key of ["cross_attention_dim", "block_out_channels", "layers_per_block"] as const) {
      const [has, needed] = [spread(net[key]), spread(unet[key])];
      if (has.join() !== needed.join()) throw misfit(key, net[key], `the UNet's is ${JSON.stringify(unet[key])}`);
    }
    if (net.addition_embed_type !== null)
      for (const key of [
        "addition_embed_type",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
      ] as const)
        if (net[key] !== unet[key]) throw misfit(key, net[key], `the UNet's is ${JSON.stringify(unet[key])}`);
    if (net.class_embed_type !== null || net.num_class_embeds !== null)
      throw new InstructPix2PixError("ERR_CONFIG", `${which} takes class labels, which this pipeline has none of`);
    const [scale, factor] = [controlScaleOf(net), scaleFactorOf(vae)];
    if (scale !== factor)
      throw misfit(
        "conditioning_embedding_out_channels",
        net.conditioning_embedding_out_channels,
        `that scales images down by ${scale}, and the autoencoder by ${factor}`,
      );
  }
}
