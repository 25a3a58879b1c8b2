import { checkOptions, optionNames } from "../core/known-options.js";
import { handleOf, Tensor } from "../core/tensor.js";
import type { NativeControl } from "../runtime/contract/index.js";
import { cancellable, native } from "../runtime/native.js";
import { modelInput } from "./check-input.js";
import {
  type ControlNetConfig,
  type ControlNetShape,
  configForUNet,
  controlNetToNative,
  controlScaleOf,
  parseControlNetConfig,
} from "./controlnet-config.js";
import {
  createModel,
  loadPretrained,
  type ModelDescription,
  type ModelOptions,
  type NewModelOptions,
  PretrainedModel,
} from "./pretrained.js";
import type { UNet2DConditionModel } from "./unet_2d_condition.js";
import type { UNetCache } from "./unet-cache.js";
import { type AddedConditions, addedConditions, type GivenConditions } from "./unet-conditions.js";
import { timestepsArgument } from "./unet-timesteps.js";

export type { ControlNetConfig };

const description: ModelDescription<ControlNetConfig> = {
  kind: "ControlNetModel",
  library: "diffusers",
  parse: parseControlNetConfig,
  toNative: controlNetToNative,
};

/** Options of a pass of a ControlNet. */
export interface ControlNetForwardOptions extends Pick<GivenConditions, "classLabels" | "timestepCond"> {
  /** The residuals are multiplied by it. Default 1. */
  conditioningScale?: number | undefined;
  /** Weighs residuals by their depth, from 0.1 to 1, so that the image counts without a prompt. Default false. */
  guessMode?: boolean | undefined;
  addedConditions?: AddedConditions;
  /** As in `UNet2DConditionModel.forward`; `controlnetCond` belongs to the rows of `sample`. */
  sampleRows?: readonly number[];
  /** As in `UNet2DConditionModel.forward`; keeps what depends on the control image alone, too. */
  cache?: UNetCache;
  /** Rows of zeros to put before and behind the residuals, for rows of the UNet that are not controlled. Default none. */
  zeroRows?: readonly [before: number, behind: number] | undefined;
  /** Residuals of another ControlNet, to which these are added; they stay the caller's. Default none. */
  residuals?: ControlNetOutput | undefined;
  signal?: AbortSignal;
}

const FORWARD_OPTIONS = optionNames<ControlNetForwardOptions>()({
  conditioningScale: true,
  guessMode: true,
  addedConditions: true,
  classLabels: true,
  timestepCond: true,
  sampleRows: true,
  cache: true,
  zeroRows: true,
  residuals: true,
  signal: true,
});

/** What a UNet adds to its features, as `downBlockAdditionalResiduals` and `midBlockAdditionalResidual`. */
export interface ControlNetOutput {
  /** One for each skip of the UNet, in the order of the way down: [B,C,h,w], or [B,C,1,1] with `global_pool_conditions`. */
  downBlockResSamples: Tensor[];
  /** For the output of the middle, likewise. */
  midBlockResSample: Tensor;
}

/** What a new ControlNet is made of beside its UNet. */
export interface FromUNetOptions extends NewModelOptions {
  /** Channels of the control image. Default 3. */
  conditioningChannels?: number | undefined;
  /** The order in which it takes them. Default "rgb". */
  controlnetConditioningChannelOrder?: "rgb" | "bgr" | undefined;
  /** Channels of the layers that scale the image down; each but the first halves it. Default [16, 32, 96, 256]. */
  conditioningEmbeddingOutChannels?: readonly number[] | undefined;
  /** Whether the weights of the UNet's way down are copied; else they are random. Default true. */
  loadWeightsFromUnet?: boolean | undefined;
}

const FROM_UNET_OPTIONS = optionNames<FromUNetOptions>()({
  device: true,
  attention: true,
  generator: true,
  conditioningChannels: true,
  controlnetConditioningChannelOrder: true,
  conditioningEmbeddingOutChannels: true,
  loadWeightsFromUnet: true,
});

/** The UNet's parameters that a ControlNet has too. */
const OF_ENCODER = /^(?:conv_in|time_embedding|class_embedding|add_embedding|down_blocks|mid_block)\./;

/**
 * ControlNet (Zhang et al. 2023, https://arxiv.org/abs/2302.05543): a copy of a UNet's way down that sees a control image,
 * such as edges or a depth map, and whose features are added to the UNet's.
 *
 * @example
 * ```js
 * import { ControlNetModel, StableDiffusionControlNetPipeline } from "instruct-pix2pix";
 *
 * const controlnet = await ControlNetModel.fromPretrained("./controlnet-canny");
 * const pipe = await StableDiffusionControlNetPipeline.fromPretrained("./base", { controlnet });
 * const { images } = await pipe.run({ prompt: "a lighthouse", image: "edges.png", numInferenceSteps: 20 });
 * await images[0].save("lighthouse.png");
 * pipe.dispose();
 * ```
 */
export class ControlNetModel extends PretrainedModel<ControlNetConfig> {
  /** @internal */
  static readonly description = description;

  /**
   * Loads a folder with `config.json` and `diffusion_pytorch_model*.safetensors`.
   *
   * @throws as {@link UNet2DConditionModel.fromPretrained}
   */
  static async fromPretrained(folder: string, options: ModelOptions = {}): Promise<ControlNetModel> {
    return new ControlNetModel(await loadPretrained(description, folder, options));
  }

  /**
   * Creates a model with random float32 weights, whose residuals are zero, to train from scratch.
   *
   * @param config as in `config.json`; missing keys get the file format's defaults
   * @throws `ERR_CONFIG`
   */
  static async fromConfig(config: Partial<ControlNetConfig>, options: NewModelOptions = {}): Promise<ControlNetModel> {
    return new ControlNetModel(await createModel(description, config, options));
  }

  /**
   * Creates a float32 model for a UNet, with the weights of its way down and residuals that are zero, to train.
   *
   * @throws `ERR_CONFIG` for a UNet that no ControlNet can be made for; `ERR_INVALID_ARGUMENT` for a quantized one
   */
  static async fromUNet(unet: UNet2DConditionModel, options: FromUNetOptions = {}): Promise<ControlNetModel> {
    const {
      conditioningChannels: channels,
      controlnetConditioningChannelOrder: order,
      conditioningEmbeddingOutChannels: embedding,
      loadWeightsFromUnet = true,
      ...rest
    } = checkOptions(options, FROM_UNET_OPTIONS);
    const shape: Partial<ControlNetShape> = {
      ...(channels !== undefined && { conditioning_channels: channels }),
      ...(order !== undefined && { controlnet_conditioning_channel_order: order }),
      ...(embedding !== undefined && { conditioning_embedding_out_channels: [...embedding] }),
    };
    const config = configForUNet(unet.config, shape);
    if (loadWeightsFromUnet) unet.checkExact();
    const made = await ControlNetModel.fromConfig(config as Partial<ControlNetConfig>, rest);
    if (!loadWeightsFromUnet) return made;
    try {
      const weights = await unet.parameters();
      for (const [name, tensor] of Object.entries(weights)) {
        using weight = tensor;
        if (OF_ENCODER.test(name)) await native().setModelParameter(made.handle, name, weight.handle);
      }
      return made;
    } catch (error) {
      made.dispose();
      throw error;
    }
  }

  /** Pixels per latent along an edge of the control image: 8 for Stable Diffusion. */
  get scaleFactor(): number {
    return controlScaleOf(this.config);
  }

  /**
   * Computes the residuals.
   *
   * @param sample [B,in_channels,h,w], what the UNet gets
   * @param timesteps as in `UNet2DConditionModel.forward`
   * @param encoderHiddenStates text embeddings [B,T,cross_attention_dim]
   * @param controlnetCond the control image [B,conditioning_channels,H,W] in 0..1, or one row for all, of
   *   {@link scaleFactor} times the sample's size
   * @param options further conditions: what the configuration asks for must be given, and nothing else
   * @returns tensors that belong to the caller
   * @throws `ERR_INVALID_ARGUMENT` naming the argument
   */
  async forward(
    sample: Tensor,
    timesteps: number | readonly number[] | Tensor,
    encoderHiddenStates: Tensor,
    controlnetCond: Tensor,
    options?: ControlNetForwardOptions,
  ): Promise<ControlNetOutput> {
    const given = checkOptions(options, FORWARD_OPTIONS);
    const { conditioningScale: scale = 1, guessMode = false, zeroRows = [0, 0], residuals, signal } = given;
    const { in_channels, cross_attention_dim, conditioning_channels } = this.config;
    const steps = timestepsArgument(timesteps);
    const channels = (size: number) => ({ axis: 1, size, unit: "channels" });
    const input = modelInput(sample, "sample", "[B,C,H,W]", channels(in_channels));
    const text = { axis: 2, size: cross_attention_dim, unit: "features" };
    const conditions = {
      embeddings: modelInput(encoderHiddenStates, "encoderHiddenStates", "[B,T,D]", text),
      ...addedConditions(given),
      residuals: residuals
        ? {
            down: residuals.downBlockResSamples.map((each) => handleOf(each, "residuals")),
            mid: handleOf(residuals.midBlockResSample, "residuals"),
          }
        : null,
      sampleRows: given.sampleRows ?? null,
      cache: given.cache?.handle ?? null,
    };
    const [zeroRowsBefore, zeroRowsBehind] = zeroRows;
    const picture = modelInput(controlnetCond, "controlnetCond", "[B,C,H,W]", channels(conditioning_channels));
    const control: NativeControl = { picture, scale, guessMode, zeroRowsBefore, zeroRowsBehind };
    const { down, mid } = await this.computing(() =>
      cancellable(signal, (token) => native().controlNetForward(this.handle, input, steps, conditions, control, token)),
    );
    return { downBlockResSamples: [...down].map((each) => new Tensor(each)), midBlockResSample: new Tensor(mid) };
  }
}
