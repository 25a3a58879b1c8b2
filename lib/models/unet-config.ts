import {
  boolean,
  booleanOrList,
  ignored,
  integer,
  integerOrList,
  integerOrNestedList,
  integers,
  LIMITS,
  name,
  names,
  nestedList,
  nullable,
  number,
  oneOf,
  only,
  type Parsed,
  unsupported,
} from "./schema.js";
import { checkKBlocks } from "./unet-k-blocks.js";

/** Residual and transformer blocks of all levels together; the largest published models have about a hundred. */
const MAX_BLOCKS = 4096;

const ACTIVATIONS = ["silu", "swish", "mish", "gelu", "relu"] as const;

/** Every key of a UNet's config.json, with its default. */
export const UNET_SCHEMA = {
  _diffusers_version: ignored, // pipelines read what old versions wrote otherwise
  sample_size: ignored,
  in_channels: integer(4, LIMITS.channels),
  out_channels: integer(4, LIMITS.channels),
  center_input_sample: boolean(false),
  flip_sin_to_cos: boolean(true),
  freq_shift: number(0),
  // The native side knows the types of blocks (native/models/blocks/block_types.cc).
  down_block_types: names(["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"]),
  mid_block_type: nullable(name("UNetMidBlock2DCrossAttn"), "UNetMidBlock2DCrossAttn"),
  up_block_types: names(["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]),
  only_cross_attention: booleanOrList(false),
  block_out_channels: integers([320, 640, 1280, 1280], LIMITS.channels),
  layers_per_block: integerOrList(2, LIMITS.layers),
  downsample_padding: integer(1, LIMITS.kernel, 0),
  mid_block_scale_factor: number(1, true),
  dropout: ignored, // of training; inference has none
  act_fn: oneOf("silu", ACTIVATIONS),
  norm_num_groups: nullable(integer(32, LIMITS.channels), 32),
  norm_eps: number(1e-5, true),
  cross_attention_dim: integerOrList(1280, LIMITS.features),
  transformer_layers_per_block: integerOrNestedList(1, LIMITS.layers),
  reverse_transformer_layers_per_block: nullable(nestedList([1], LIMITS.layers)),
  encoder_hid_dim: nullable(integer(1, LIMITS.features)),
  encoder_hid_dim_type: nullable(oneOf("image_proj", ["image_proj"])),
  attention_head_dim: integerOrList(8, LIMITS.channels),
  num_attention_heads: only(null), // diffusers refuses it too: attention_head_dim is the number of heads
  dual_cross_attention: only(false),
  use_linear_projection: boolean(false),
  class_embed_type: nullable(oneOf("timestep", ["timestep", "identity", "projection", "simple_projection"])),
  addition_embed_type: nullable(oneOf("text_time", ["text_time", "image"])),
  addition_time_embed_dim: nullable(integer(1, LIMITS.features)),
  num_class_embeds: nullable(integer(1, LIMITS.vocabulary)), // read without class_embed_type only
  upcast_attention: boolean(false), // softmax is always taken in float32 here
  resnet_time_scale_shift: oneOf("default", ["default", "scale_shift"]),
  // These and mid_block_only_cross_attention are read by the "Simple" and "Resnet" block types only.
  resnet_skip_time_act: boolean(false),
  resnet_out_scale_factor: number(1, true),
  time_embedding_type: oneOf("positional", ["positional", "fourier"]),
  time_embedding_dim: nullable(integer(1, LIMITS.features)),
  time_embedding_act_fn: only(null),
  timestep_post_act: nullable(oneOf("silu", ACTIVATIONS)),
  time_cond_proj_dim: nullable(integer(1, LIMITS.features)),
  conv_in_kernel: integer(3, LIMITS.kernel),
  conv_out_kernel: integer(3, LIMITS.kernel),
  projection_class_embeddings_input_dim: nullable(integer(1, LIMITS.features)),
  attention_type: only("default"),
  class_embeddings_concat: only(false),
  mid_block_only_cross_attention: nullable(boolean(false)),
  cross_attention_norm: only(null),
  addition_embed_type_num_heads: ignored,
};

export type UNet2DConditionConfig = Parsed<typeof UNET_SCHEMA>;

/** Spreads single values over the levels and checks that lists have one entry for each. */
export function unetToNative(config: UNet2DConditionConfig, where: string): object {
  const levels = config.block_out_channels.length;
  const perLevel = <T>(key: keyof UNet2DConditionConfig, value: T | T[]): T[] => {
    const list = Array.isArray(value) ? value : Array<T>(levels).fill(value);
    if (list.length !== levels)
      throw unsupported(where, key, value, `${levels} entries, one for each of block_out_channels`);
    return list;
  };
  /** The numbers of transformer blocks of a level's resnets: one number for all of them, or a list. */
  const perResnet = (key: keyof UNet2DConditionConfig, value: (number | number[])[], resnets: number[]): number[][] =>
    value.map((layers, level) => {
      if (!Array.isArray(layers)) return Array<number>(resnets[level]!).fill(layers);
      if (layers.length >= resnets[level]!) return layers;
      throw unsupported(where, key, config[key], `${resnets[level]} numbers or one in entry ${level}`);
    });
  for (const key of ["conv_in_kernel", "conv_out_kernel"] as const)
    if (config[key] % 2 === 0) throw unsupported(where, key, config[key], "an odd kernel size");
  checkEmbeddings(config, where);
  checkKBlocks(config, where);

  const resnets = perLevel("layers_per_block", config.layers_per_block);
  const upResnets = resnets.toReversed().map((count) => count + 1);
  const layers = perLevel<number | number[]>("transformer_layers_per_block", config.transformer_layers_per_block);
  const reverse = config.reverse_transformer_layers_per_block;
  if (reverse === null && layers.some(Array.isArray))
    throw unsupported(
      where,
      "reverse_transformer_layers_per_block",
      null,
      "a list, since transformer_layers_per_block holds lists",
    );
  const upLayers = perLevel<number | number[]>("reverse_transformer_layers_per_block", reverse ?? layers.toReversed());
  const native = {
    ...config,
    down_block_types: perLevel("down_block_types", config.down_block_types),
    up_block_types: perLevel("up_block_types", config.up_block_types),
    only_cross_attention: perLevel("only_cross_attention", config.only_cross_attention),
    layers_per_block: resnets,
    cross_attention_dim: perLevel("cross_attention_dim", config.cross_attention_dim),
    transformer_layers_per_block: perResnet("transformer_layers_per_block", layers, resnets),
    reverse_transformer_layers_per_block: perResnet("reverse_transformer_layers_per_block", upLayers, upResnets),
    attention_head_dim: perLevel("attention_head_dim", config.attention_head_dim),
    mid_block_only_cross_attention: config.mid_block_only_cross_attention ?? config.only_cross_attention === true,
    extend_input_channels: false,
    time_embedding_dim: timeEmbeddingDim(config),
  };
  const sum = (list: number[]) => list.reduce((total, count) => total + count, 0);
  const blocks = sum(resnets) + sum(native.transformer_layers_per_block.map(sum));
  if (blocks > MAX_BLOCKS)
    throw unsupported(
      where,
      "layers_per_block",
      config.layers_per_block,
      `at most ${MAX_BLOCKS} layers in all levels together, those of transformer_layers_per_block counted`,
    );
  return native;
}

/** Width of the timestep's embedding. */
function timeEmbeddingDim(config: UNet2DConditionConfig): number {
  const perChannel = config.time_embedding_type === "fourier" ? 2 : 4;
  return config.time_embedding_dim ?? perChannel * config.block_out_channels[0]!;
}

/** Keys that another key makes necessary. */
function checkEmbeddings(config: UNet2DConditionConfig, where: string): void {
  const need = (key: keyof UNet2DConditionConfig, because: keyof UNet2DConditionConfig) => {
    if (config[key] !== null) return;
    throw unsupported(where, key, null, `a number, since ${because} is ${JSON.stringify(config[because])}`);
  };
  if (config.addition_embed_type === "text_time") {
    need("addition_time_embed_dim", "addition_embed_type");
    need("projection_class_embeddings_input_dim", "addition_embed_type");
  }
  if (config.addition_embed_type === "image") need("encoder_hid_dim", "addition_embed_type");
  if (config.encoder_hid_dim_type === "image_proj") {
    need("encoder_hid_dim", "encoder_hid_dim_type");
    if (new Set([config.cross_attention_dim].flat()).size > 1)
      throw unsupported(
        where,
        "cross_attention_dim",
        config.cross_attention_dim,
        "one number, since encoder_hid_dim_type is set",
      );
  } else if (config.encoder_hid_dim !== null && config.addition_embed_type !== "image") {
    throw unsupported(where, "encoder_hid_dim", config.encoder_hid_dim, "null, since encoder_hid_dim_type is null");
  }
  if (config.class_embed_type === "projection" || config.class_embed_type === "simple_projection")
    need("projection_class_embeddings_input_dim", "class_embed_type");
}
