import {
  booleanOrList,
  integer,
  integerOrList,
  integers,
  type JsonObject,
  LIMITS,
  nullable,
  oneOf,
  only,
  type Parsed,
  parseConfig,
  unsupported,
} from "./schema.js";
import type { UNet2DConditionConfig } from "./unet_2d_condition.js";
import { encoderToNative, UNET_SCHEMA } from "./unet-config.js";

/** What a UNet has a key for, and ControlNets do not. */
const CONV_IN_KERNEL = 3;

const DEFAULT_EMBEDDING_CHANNELS = [16, 32, 96, 256];

/** Every key of a ControlNet's config.json, with its default: those of its UNet's way down, and those of its image. */
const CONTROLNET_SCHEMA = {
  in_channels: UNET_SCHEMA.in_channels,
  conditioning_channels: integer(3, LIMITS.channels),
  flip_sin_to_cos: UNET_SCHEMA.flip_sin_to_cos,
  freq_shift: UNET_SCHEMA.freq_shift,
  down_block_types: UNET_SCHEMA.down_block_types,
  mid_block_type: oneOf("UNetMidBlock2DCrossAttn", ["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"]),
  only_cross_attention: booleanOrList(false),
  block_out_channels: UNET_SCHEMA.block_out_channels,
  layers_per_block: integer(2, LIMITS.layers),
  downsample_padding: UNET_SCHEMA.downsample_padding,
  mid_block_scale_factor: UNET_SCHEMA.mid_block_scale_factor,
  act_fn: UNET_SCHEMA.act_fn,
  norm_num_groups: integer(32, LIMITS.channels),
  norm_eps: UNET_SCHEMA.norm_eps,
  cross_attention_dim: integer(1280, LIMITS.features),
  transformer_layers_per_block: UNET_SCHEMA.transformer_layers_per_block,
  encoder_hid_dim: only(null),
  encoder_hid_dim_type: only(null),
  attention_head_dim: UNET_SCHEMA.attention_head_dim,
  /** The number of heads, where it is not in attention_head_dim. */
  num_attention_heads: nullable(integerOrList(8, LIMITS.channels)),
  use_linear_projection: UNET_SCHEMA.use_linear_projection,
  class_embed_type: nullable(oneOf("timestep", ["timestep", "identity", "projection"])),
  addition_embed_type: nullable(oneOf("text_time", ["text_time"])),
  addition_time_embed_dim: UNET_SCHEMA.addition_time_embed_dim,
  num_class_embeds: UNET_SCHEMA.num_class_embeds,
  upcast_attention: UNET_SCHEMA.upcast_attention,
  resnet_time_scale_shift: UNET_SCHEMA.resnet_time_scale_shift,
  projection_class_embeddings_input_dim: UNET_SCHEMA.projection_class_embeddings_input_dim,
  controlnet_conditioning_channel_order: oneOf("rgb", ["rgb", "bgr"]),
  conditioning_embedding_out_channels: integers(DEFAULT_EMBEDDING_CHANNELS, LIMITS.channels),
  global_pool_conditions: UNET_SCHEMA.center_input_sample, // false, and no more than that
  addition_embed_type_num_heads: UNET_SCHEMA.addition_embed_type_num_heads,
};

/** The configuration of a ControlNet, with the keys of its `config.json`. */
export type ControlNetConfig = Parsed<typeof CONTROLNET_SCHEMA>;

export function parseControlNetConfig(config: JsonObject, where: string): ControlNetConfig {
  return parseConfig(CONTROLNET_SCHEMA, config, where);
}

/** What a UNet's configuration may say otherwise, and ControlNets have one value of. */
const ONLY = {
  conv_in_kernel: CONV_IN_KERNEL,
  time_cond_proj_dim: null,
  time_embedding_type: "positional",
  timestep_post_act: null,
  encoder_hid_dim_type: null,
} as const;

/** The native model's configuration. */
export function controlNetToNative(config: ControlNetConfig, where: string): object {
  const heads = config.num_attention_heads ?? config.attention_head_dim;
  const encoder = encoderToNative({ ...config, attention_head_dim: heads }, where);
  return { ...config, ...encoder, ...ONLY };
}

/** Pixels per latent along an edge: what the control image is scaled down by. */
export function controlScaleOf({
  conditioning_embedding_out_channels: channels,
}: Pick<ControlNetConfig, "conditioning_embedding_out_channels">): number {
  return 2 ** (channels.length - 1);
}

/** What a new ControlNet has beside its UNet's configuration. */
export type ControlNetShape = Pick<
  ControlNetConfig,
  "conditioning_channels" | "controlnet_conditioning_channel_order" | "conditioning_embedding_out_channels"
>;

/** The configuration of a ControlNet for a UNet. @throws `ERR_CONFIG` for a UNet that none can be made for */
export function configForUNet(unet: Readonly<UNet2DConditionConfig>, shape: Partial<ControlNetShape>): JsonObject {
  const own = Object.keys(CONTROLNET_SCHEMA).filter((key) => Object.hasOwn(unet, key));
  const shared = Object.fromEntries(own.map((key) => [key, unet[key as keyof UNet2DConditionConfig]]));
  const where = "the UNet's configuration";
  for (const [key, only] of Object.entries(ONLY) as [keyof typeof ONLY, string | number | null][])
    if (unet[key] !== only) throw unsupported(where, key, unet[key], `${only}: ControlNets have no other`);
  const width = 4 * unet.block_out_channels[0]!;
  if ((unet.time_embedding_dim ?? width) !== width)
    throw unsupported(where, "time_embedding_dim", unet.time_embedding_dim, `${width}: ControlNets have no other`);
  return { ...shared, ...shape };
}
