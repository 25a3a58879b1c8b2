import { checkList, checkOptions } from "../core/arguments.js";
import { handleOf, Tensor } from "../core/tensor.js";
import type { DeepFeatures, NativeTensor } from "../runtime/contract.js";
import { cancellable, native } from "../runtime/native.js";
import type { SingleFile } from "../single-file/file.js";
import {
  loadFromSingleFile,
  type SingleFileModelOptions,
  type SingleFileTables,
  singleFileConfig,
} from "../single-file/model.js";
import { inferUNetConfig } from "../single-file/unet-config.js";
import { unetNames } from "../single-file/unet-names.js";
import {
  createModel,
  loadPretrained,
  type ModelDescription,
  type ModelOptions,
  type NewModelOptions,
  PretrainedModel,
  type QuantizationOptions,
  readModelConfig,
} from "./pretrained.js";
import {
  boolean,
  booleanOrList,
  ignored,
  integer,
  integerOrList,
  integers,
  type JsonObject,
  LIMITS,
  listOfOne,
  nullable,
  number,
  oneOf,
  only,
  type Parsed,
  parseConfig,
  unsupported,
} from "./schema.js";
import type { UNetCache } from "./unet-cache.js";

/** Residual and transformer blocks of all levels together; the largest published models have about a hundred. */
const MAX_BLOCKS = 4096;

const ACTIVATIONS = ["silu", "swish", "mish", "gelu", "relu"] as const;

/** Every key of a UNet's config.json, with its default. */
const SCHEMA = {
  _diffusers_version: ignored, // pipelines read what old versions wrote otherwise
  sample_size: ignored,
  in_channels: integer(4, LIMITS.channels),
  out_channels: integer(4, LIMITS.channels),
  center_input_sample: boolean(false),
  flip_sin_to_cos: boolean(true),
  freq_shift: number(0),
  down_block_types: listOfOne(
    ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    ["DownBlock2D", "CrossAttnDownBlock2D"],
  ),
  mid_block_type: nullable(
    oneOf("UNetMidBlock2DCrossAttn", ["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"]),
    "UNetMidBlock2DCrossAttn",
  ),
  up_block_types: listOfOne(
    ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    ["UpBlock2D", "CrossAttnUpBlock2D"],
  ),
  only_cross_attention: booleanOrList(false),
  block_out_channels: integers([320, 640, 1280, 1280], LIMITS.channels),
  layers_per_block: integerOrList(2, LIMITS.layers),
  downsample_padding: integer(1, LIMITS.kernel, 0),
  mid_block_scale_factor: number(1, true),
  dropout: ignored, // of training; inference has none
  act_fn: oneOf("silu", ACTIVATIONS),
  norm_num_groups: integer(32, LIMITS.channels),
  norm_eps: number(1e-5, true),
  cross_attention_dim: integerOrList(1280, LIMITS.features),
  transformer_layers_per_block: integerOrList(1, LIMITS.layers),
  reverse_transformer_layers_per_block: nullable(integers([1], LIMITS.layers)),
  encoder_hid_dim: only(null),
  encoder_hid_dim_type: only(null),
  attention_head_dim: integerOrList(8, LIMITS.channels),
  num_attention_heads: only(null),
  dual_cross_attention: only(false),
  use_linear_projection: boolean(false),
  class_embed_type: only(null),
  addition_embed_type: only(null),
  addition_time_embed_dim: ignored, // read with addition_embed_type "text_time" only
  num_class_embeds: only(null),
  upcast_attention: boolean(false), // softmax is always taken in float32 here
  resnet_time_scale_shift: oneOf("default", ["default", "scale_shift"]),
  resnet_skip_time_act: ignored, // of block types that are not supported
  resnet_out_scale_factor: ignored, // likewise
  time_embedding_type: only("positional"),
  time_embedding_dim: nullable(integer(1, LIMITS.features)),
  time_embedding_act_fn: only(null),
  timestep_post_act: only(null),
  time_cond_proj_dim: only(null),
  conv_in_kernel: integer(3, LIMITS.kernel),
  conv_out_kernel: integer(3, LIMITS.kernel),
  projection_class_embeddings_input_dim: ignored, // read with a class or addition embedding only
  attention_type: only("default"),
  class_embeddings_concat: only(false),
  mid_block_only_cross_attention: ignored, // of block types that are not supported
  cross_attention_norm: only(null),
  addition_embed_type_num_heads: ignored,
};

export type UNet2DConditionConfig = Parsed<typeof SCHEMA>;

const description: ModelDescription<UNet2DConditionConfig> = {
  kind: "UNet2DConditionModel",
  library: "diffusers",
  parse: (config: JsonObject, where) => parseConfig(SCHEMA, config, where),
  toNative,
};

const singleFile: SingleFileTables<UNet2DConditionConfig> = {
  component: "unet",
  infer: inferUNetConfig,
  names: (config) => unetNames(config),
};

/** The configuration of a single file's UNet, from a folder or inferred. */
export function singleFileUNetConfig(file: SingleFile, folder?: string): Promise<UNet2DConditionConfig> {
  return singleFileConfig(description, singleFile, file, folder);
}

/** The configuration in a folder, without its weights. */
export async function readUNetConfig(folder: string): Promise<UNet2DConditionConfig> {
  return (await readModelConfig(description, folder)).config;
}

/** Spreads single values over the levels and checks that lists have one entry for each. */
function toNative(config: UNet2DConditionConfig, where: string): object {
  const levels = config.block_out_channels.length;
  const perLevel = <T>(key: keyof UNet2DConditionConfig, value: T | T[]): T[] => {
    const list = Array.isArray(value) ? value : Array<T>(levels).fill(value);
    if (list.length !== levels)
      throw unsupported(where, key, value, `${levels} entries, one for each of block_out_channels`);
    return list;
  };
  for (const key of ["conv_in_kernel", "conv_out_kernel"] as const)
    if (config[key] % 2 === 0) throw unsupported(where, key, config[key], "an odd kernel size");
  const layers = perLevel("transformer_layers_per_block", config.transformer_layers_per_block);
  const resnets = perLevel("layers_per_block", config.layers_per_block);
  const blocks = resnets.reduce((sum, count, level) => sum + count * (1 + layers[level]!), 0);
  if (blocks > MAX_BLOCKS)
    throw unsupported(
      where,
      "layers_per_block",
      config.layers_per_block,
      `at most ${MAX_BLOCKS} layers in all levels together, those of transformer_layers_per_block counted`,
    );
  return {
    ...config,
    down_block_types: perLevel("down_block_types", config.down_block_types),
    up_block_types: perLevel("up_block_types", config.up_block_types),
    only_cross_attention: perLevel("only_cross_attention", config.only_cross_attention),
    layers_per_block: resnets,
    cross_attention_dim: perLevel("cross_attention_dim", config.cross_attention_dim),
    transformer_layers_per_block: layers,
    reverse_transformer_layers_per_block: perLevel(
      "reverse_transformer_layers_per_block",
      config.reverse_transformer_layers_per_block ?? layers.toReversed(),
    ),
    attention_head_dim: perLevel("attention_head_dim", config.attention_head_dim),
    extend_input_channels: false,
    time_embedding_dim: config.time_embedding_dim ?? 4 * config.block_out_channels[0]!,
  };
}

/**
 * The denoising UNet of Stable Diffusion (Rombach et al. 2022, https://arxiv.org/abs/2112.10752); with 8 input channels,
 * noisy latents and image latents, that of InstructPix2Pix (Brooks et al. 2023, https://arxiv.org/abs/2211.09800).
 */
export class UNet2DConditionModel extends PretrainedModel<UNet2DConditionConfig> {
  /** @internal */
  static readonly description = description;

  /**
   * Loads a folder with `config.json` and `diffusion_pytorch_model*.safetensors`.
   *
   * @throws `ERR_INVALID_ARGUMENT` for options, `ERR_FILE_NOT_FOUND`, `ERR_CONFIG` for what is not supported,
   *  `ERR_SAFETENSORS`, `ERR_STATE_DICT` listing tensors that are missing, unexpected or of the wrong shape,
   *   `ERR_NOT_FINITE` naming the first weight that holds NaN or infinity, `ERR_OUT_OF_MEMORY`
   */
  static async fromPretrained(
    folder: string,
    options: ModelOptions & QuantizationOptions = {},
  ): Promise<UNet2DConditionModel> {
    return new UNet2DConditionModel(await loadPretrained(description, folder, options));
  }

  /**
   * Loads the UNet of a single safetensors file in the original layout of Stable Diffusion 1 or 2. Its
   * configuration is inferred from the names and shapes of the tensors, unless the option `config` names one.
   *
   * @param file path of the file
   * @throws as {@link UNet2DConditionModel.fromPretrained}; `ERR_STATE_DICT` for a file of another layout, saying what it is
   */
  static async fromSingleFile(
    file: string,
    options: SingleFileModelOptions & QuantizationOptions = {},
  ): Promise<UNet2DConditionModel> {
    return new UNet2DConditionModel(await loadFromSingleFile(description, singleFile, file, options));
  }

  /**
   * Creates a model with random float32 weights, to train from scratch.
   *
   * @param config as in `config.json`; missing keys get the file format's defaults
   * @throws `ERR_CONFIG`
   */
  static async fromConfig(
    config: Partial<UNet2DConditionConfig>,
    options: NewModelOptions = {},
  ): Promise<UNet2DConditionModel> {
    return new UNet2DConditionModel(await createModel(description, config, options));
  }

  /**
   * Loads a UNet for training with additional input channels: those missing in a text-to-image model get zero weights,
   * so that they have no effect at first.
   *
   * @param channels.inChannels input channels of the result
   * @param channels.existing input channels of a model to which the others are added; without them none are added
   * @returns the model, and whether channels were added
   * @throws as {@link fromPretrained}; `ERR_CONFIG` if the file's model has neither these nor `existing` channels
   */
  static async fromPretrainedExtended(
    folder: string,
    channels: { existing?: number | undefined; inChannels: number },
    options: ModelOptions = {},
  ): Promise<{ unet: UNet2DConditionModel; extended: boolean }> {
    let extended = false;
    const parse = (config: JsonObject, where: string) => {
      const parsed = description.parse(config, where);
      if (parsed.in_channels === channels.inChannels) return parsed;
      if (parsed.in_channels !== channels.existing)
        throw unsupported(
          where,
          "in_channels",
          parsed.in_channels,
          [channels.existing, channels.inChannels].filter((count) => count !== undefined).join(" or "),
        );
      extended = true;
      return { ...parsed, in_channels: channels.inChannels };
    };
    const toExtended = (config: UNet2DConditionConfig, where: string) => ({
      ...toNative(config, where),
      extend_input_channels: extended,
    });
    const loaded = await loadPretrained({ ...description, parse, toNative: toExtended }, folder, options);
    return { unet: new UNet2DConditionModel(loaded), extended };
  }

  /**
   * Predicts the noise (or the velocity, depending on the model's prediction type).
   *
   * @param sample [B,in_channels,H,W]; H and W of any size
   * @param timesteps one for the whole batch, or one for each row: a number, a list, or a tensor [] or [1] or [B] of any type
   *   of numbers
   * @param encoderHiddenStates text embeddings [B,T,cross_attention_dim]
   * @param options.sampleRows for each row of the embeddings the index of its row of `sample`: rows that differ only in
   * their text are passed, and as far as possible computed, once. Default: one to one
   * @param options.cache caches results that depend only on the embeddings or timesteps for the next calls; belongs to
   * the first model it is used with
   * @param options.deepFeatures `reuse` computes only the highest resolution and reuses the deeper levels' features
   * from the last call with `keep` or `reuse` that computed them: faster and not exact (Ma et al. 2023,
   * https://arxiv.org/abs/2312.00858). Both need the
   *   cache. Default `forget`
   * @returns [B,out_channels,H,W] in the model's type; B is that of the embeddings if `sampleRows` is given
   */
  async forward(
    sample: Tensor,
    timesteps: number | readonly number[] | Tensor,
    encoderHiddenStates: Tensor,
    options?: {
      sampleRows?: readonly number[];
      cache?: UNetCache;
      deepFeatures?: DeepFeatures;
      signal?: AbortSignal;
    },
  ): Promise<Tensor> {
    const { sampleRows = null, cache, deepFeatures = "forget", signal } = checkOptions(options);
    const reused = { sampleRows, cache: cache?.handle ?? null, deepFeatures };
    const steps = timestepsArgument(timesteps);
    const input = handleOf(sample, "sample");
    const context = handleOf(encoderHiddenStates, "encoderHiddenStates");
    return new Tensor(
      await this.computing(() =>
        cancellable(signal, (token) => native().unetForward(this.handle, input, steps, context, reused, token)),
      ),
    );
  }
}

function timestepsArgument(timesteps: number | readonly number[] | Tensor): readonly number[] | NativeTensor {
  if (typeof timesteps === "number") return [timesteps];
  if (Array.isArray(timesteps) && checkList(timesteps, "timesteps").every((step) => typeof step === "number"))
    return timesteps;
  return handleOf(timesteps as Tensor, "timesteps", "a number, a list of numbers, or a Tensor");
}
