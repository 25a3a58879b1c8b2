import { Tensor } from "../core/tensor.js";
import { cancellable, native } from "../runtime/native.js";
import {
  loadFromSingleFile,
  QUANTIZABLE_SINGLE_FILE_OPTIONS,
  type SingleFileModelOptions,
  type SingleFileTables,
} from "../single-file/model.js";
import { inferUNetConfig } from "../single-file/unet-config.js";
import { unetNames } from "../single-file/unet-names.js";
import { modelInput } from "./check-input.js";
import {
  createModel,
  loadPretrained,
  type ModelDescription,
  type ModelOptions,
  type NewModelOptions,
  PretrainedModel,
  QUANTIZABLE_OPTIONS,
  type QuantizationOptions,
  readModelConfig,
} from "./pretrained.js";
import { type JsonObject, parseConfig, unsupported } from "./schema.js";
import { type UNetForwardOptions, unetConditions } from "./unet-conditions.js";
import { UNET_SCHEMA, type UNet2DConditionConfig, unetToNative } from "./unet-config.js";
import { timestepsArgument } from "./unet-timesteps.js";

export type { UNet2DConditionConfig };

const description: ModelDescription<UNet2DConditionConfig> = {
  kind: "UNet2DConditionModel",
  library: "diffusers",
  parse: (config: JsonObject, where) => parseConfig(UNET_SCHEMA, config, where),
  toNative: unetToNative,
};

const singleFile: SingleFileTables<UNet2DConditionConfig> = {
  component: "unet",
  infer: inferUNetConfig,
  names: (config) => unetNames(config),
};

/** The configuration in a folder, without its weights. */
export async function readUNetConfig(folder: string): Promise<UNet2DConditionConfig> {
  return (await readModelConfig(description, folder)).config;
}

/** Input channels of a UNet in training. */
export interface InputChannels {
  /** The input channels of a model to which the others are added; without it none are added. */
  existing?: number | undefined;
  /** The input channels of the result. */
  inChannels: number;
}

/**
 * The denoising UNet of Stable Diffusion (Rombach et al. 2022, https://arxiv.org/abs/2112.10752); with 8 input channels,
 * noisy latents and image latents, that of InstructPix2Pix (Brooks et al. 2023, https://arxiv.org/abs/2211.09800).
 *
 * @example
 * ```js
 * import { Tensor, UNet2DConditionModel } from "instruct-pix2pix";
 *
 * const unet = await UNet2DConditionModel.fromPretrained("./model/unet");
 * const { in_channels: channels, cross_attention_dim: width } = unet.config;
 * const noise = await unet.forward(await Tensor.randn([1, channels, 8, 8]), 500, await Tensor.randn([1, 77, Number(width)]));
 * console.log(noise.shape);
 * unet.dispose();
 * ```
 */
export class UNet2DConditionModel extends PretrainedModel<UNet2DConditionConfig> {
  /** @internal */
  static readonly description = description;
  /** @internal */
  static readonly singleFile = singleFile;

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
    return new UNet2DConditionModel(await loadPretrained(description, folder, options, QUANTIZABLE_OPTIONS));
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
    return new UNet2DConditionModel(
      await loadFromSingleFile(description, singleFile, file, options, QUANTIZABLE_SINGLE_FILE_OPTIONS),
    );
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
   * @returns the model, and whether channels were added
   * @throws as {@link fromPretrained}; `ERR_CONFIG` if the file's model has neither these nor `existing` channels
   */
  static async fromPretrainedExtended(
    folder: string,
    channels: InputChannels,
    options: ModelOptions = {},
  ): Promise<{ unet: UNet2DConditionModel; extended: boolean }> {
    const extension = extending(channels);
    const unet = new UNet2DConditionModel(await loadPretrained(extension.description, folder, options));
    return { unet, extended: extension.applied() };
  }

  /**
   * As {@link fromPretrainedExtended}, from a single file in the original layout.
   *
   * @param file path of the file
   */
  static async fromSingleFileExtended(
    file: string,
    channels: InputChannels,
    options: SingleFileModelOptions = {},
  ): Promise<{ unet: UNet2DConditionModel; extended: boolean }> {
    const extension = extending(channels);
    const loaded = await loadFromSingleFile(extension.description, singleFile, file, options);
    return { unet: new UNet2DConditionModel(loaded), extended: extension.applied() };
  }

  /**
   * Predicts the noise (or the velocity, depending on the model's prediction type).
   *
   * @param sample [B,in_channels,H,W]; H and W of any size
   * @param timesteps one for the whole batch, or one for each row: a number, a list, or a tensor [] or [1] or [B] of any type
   *   of numbers
   * @param encoderHiddenStates text embeddings [B,T,cross_attention_dim]; null for a model that is conditioned on image
   *   embeddings alone (`encoder_hid_dim_type` "image_proj")
   * @param options further conditions: what the configuration asks for must be given, and nothing else
   * @returns [B,out_channels,H,W] in the model's type; B is that of the embeddings if `sampleRows` is given
   * @throws `ERR_INVALID_ARGUMENT` naming a condition that is missing, not used by this model, or of the wrong shape
   */
  async forward(
    sample: Tensor,
    timesteps: number | readonly number[] | Tensor,
    encoderHiddenStates: Tensor | null,
    options?: UNetForwardOptions,
  ): Promise<Tensor> {
    const steps = timestepsArgument(timesteps);
    const conditions = unetConditions(encoderHiddenStates, options);
    const { in_channels, cross_attention_dim } = this.config;
    const input = modelInput(sample, "sample", "[B,C,H,W]", { axis: 1, size: in_channels, unit: "channels" });
    const [features] = [cross_attention_dim].flat() as [number];
    const text = { axis: 2, size: features, unit: "features" };
    if (encoderHiddenStates !== null) modelInput(encoderHiddenStates, "encoderHiddenStates", "[B,T,D]", text);
    return new Tensor(
      await this.computing(() =>
        cancellable(options?.signal, (token) => native().unetForward(this.handle, input, steps, conditions, token)),
      ),
    );
  }
}

/** Loading with additional input channels, and whether the model lacked them. */
function extending({ existing, inChannels }: InputChannels): {
  description: ModelDescription<UNet2DConditionConfig>;
  applied: () => boolean;
} {
  let extended = false;
  const parse = (config: JsonObject, where: string) => {
    const parsed = description.parse(config, where);
    if (parsed.in_channels === inChannels) return parsed;
    if (parsed.in_channels !== existing) {
      const accepted = [existing, inChannels].filter((count) => count !== undefined).join(" or ");
      throw unsupported(where, "in_channels", parsed.in_channels, accepted);
    }
    extended = true;
    return { ...parsed, in_channels: inChannels };
  };
  const toExtended = (config: UNet2DConditionConfig, where: string) => ({
    ...unetToNative(config, where),
    extend_input_channels: extended,
  });
  return { description: { ...description, parse, toNative: toExtended }, applied: () => extended };
}
