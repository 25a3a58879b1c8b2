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

/** The configuration of a UNet, with the keys of its `config.json`. */
export type UNet2DConditionConfig = Parsed<typeof UNET_SCHEMA>;

/** The keys of the way down, which ControlNets have too. */
export type UNetEncoderConfig = Pick<
  UNet2DConditionConfig,
  | "block_out_channels"
  | "down_block_types"
  | "only_cross_attention"
  | "layers_per_block"
  | "cross_attention_dim"
  | "transformer_layers_per_block"
  | "attention_head_dim"
  | EmbeddingKeys
>;

/** One value for each level, of a list or of a single one. */
function perLevel<T>({ block_out_channels }: UNetEncoderConfig, key: string, value: T | T[], where: string): T[] {
  const levels = block_out_channels.length;
  const list = Array.isArray(value) ? value : Array<T>(levels).fill(value);
  if (list.length === levels) return list;
  throw unsupported(where, key, value, `${levels} entries, one for each of block_out_channels`);
}

/** The numbers of transformer blocks of each level's resnets: one number for all of them, or a list. */
function perResnet(key: string, value: (number | number[])[], resnets: number[], where: string): number[][] {
  return value.map((layers, level) => {
    if (!Array.isArray(layers)) return Array<number>(resnets[level]!).fill(layers);
    if (layers.length >= resnets[level]!) return layers;
    throw unsupported(where, key, value, `${resnets[level]} numbers or one in entry ${level}`);
  });
}

/** The native configuration of the way down: single values are spread over the levels, and lists checked to have one entry for each. */
export function encoderToNative(config: UNetEncoderConfig, where: string) {
  checkEmbeddings(config, where);
  const spread = <T>(key: keyof UNetEncoderConfig, value: T | T[]) => perLevel(config, key, value, where);
  const resnets = spread("layers_per_block", config.layers_per_block);
  const layers = spread<number | number[]>("transformer_layers_per_block", config.transformer_layers_per_block);
  const native = {
    down_block_types: spread("down_block_types", config.down_block_types),
    only_cross_attention: spread("only_cross_attention", config.only_cross_attention),
    layers_per_block: resnets,
    cross_attention_dim: spread("cross_attention_dim", config.cross_attention_dim),
    transformer_layers_per_block: perResnet("transformer_layers_per_block", layers, resnets, where),
    attention_head_dim: spread("attention_head_dim", config.attention_head_dim),
    time_embedding_dim: 4 * config.block_out_channels[0]!,
    mid_block_only_cross_attention: false,
    resnet_skip_time_act: false,
    resnet_out_scale_factor: 1,
  };
  const sum = (list: number[]) => list.reduce((total, count) => total + count, 0);
  if (sum(resnets) + sum(native.transformer_layers_per_block.map(sum)) > MAX_BLOCKS)
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

/** The native configuration of a UNet. */
export function unetToNative(config: UNet2DConditionConfig, where: string): object {
  for (const key of ["conv_in_kernel", "conv_out_kernel"] as const)
    if (config[key] % 2 === 0) throw unsupported(where, key, config[key], "an odd kernel size");
  checkKBlocks(config, where);
  checkImageConditions(config, where);
  const encoder = encoderToNative(config, where);
  const upResnets = encoder.layers_per_block.toReversed().map((count) => count + 1);
  const layers = config.transformer_layers_per_block;
  const reverse = config.reverse_transformer_layers_per_block;
  if (reverse === null && Array.isArray(layers) && layers.some(Array.isArray))
    throw unsupported(
      where,
      "reverse_transformer_layers_per_block",
      null,
      "a list, since transformer_layers_per_block holds lists",
    );
  const reverseKey = "reverse_transformer_layers_per_block";
  const mirrored = Array.isArray(layers) ? layers.toReversed() : layers;
  const upLayers = perLevel<number | number[]>(config, reverseKey, reverse ?? mirrored, where);
  return {
    ...config,
    ...encoder,
    up_block_types: perLevel(config, "up_block_types", config.up_block_types, where),
    reverse_transformer_layers_per_block: perResnet(reverseKey, upLayers, upResnets, where),
    mid_block_only_cross_attention: config.mid_block_only_cross_attention ?? config.only_cross_attention === true,
    resnet_skip_time_act: config.resnet_skip_time_act,
    resnet_out_scale_factor: config.resnet_out_scale_factor,
    extend_input_channels: false,
    time_embedding_dim: timeEmbeddingDim(config),
  };
}

type EmbeddingKeys =
  | "addition_embed_type"
  | "addition_time_embed_dim"
  | "projection_class_embeddings_input_dim"
  | "class_embed_type";

/** What conditions by images need, which ControlNets do not have. */
function checkImageConditions(config: UNet2DConditionConfig, where: string): void {
  const { addition_embed_type: added, encoder_hid_dim_type: type, encoder_hid_dim: width } = config;
  if (width === null && (added === "image" || type === "image_proj")) {
    const because = type === "image_proj" ? "encoder_hid_dim_type" : "addition_embed_type";
    throw unsupported(
      where,
      "encoder_hid_dim",
      null,
      `a number, since ${because} is ${JSON.stringify(config[because])}`,
    );
  }
  if (width !== null && type === null && added !== "image")
    throw unsupported(where, "encoder_hid_dim", width, "null, since encoder_hid_dim_type is null");
  if (type !== null && new Set([config.cross_attention_dim].flat()).size > 1)
    throw unsupported(
      where,
      "cross_attention_dim",
      config.cross_attention_dim,
      "one number, since encoder_hid_dim_type is set",
    );
}

/** Keys that another key makes necessary. */
function checkEmbeddings(config: Pick<UNet2DConditionConfig, EmbeddingKeys>, where: string): void {
  const need = (key: EmbeddingKeys, because: EmbeddingKeys) => {
    if (config[key] !== null) return;
    throw unsupported(where, key, null, `a number, since ${because} is ${JSON.stringify(config[because])}`);
  };
  if (config.addition_embed_type === "text_time") {
    need("addition_time_embed_dim", "addition_embed_type");
    need("projection_class_embeddings_input_dim", "addition_embed_type");
  }
  if (config.class_embed_type === "projection" || config.class_embed_type === "simple_projection")
    need("projection_class_embeddings_input_dim", "class_embed_type");
}
