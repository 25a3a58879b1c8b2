import { resolveDevice } from "../core/device.js";
import { resolveDType } from "../core/dtype.js";
import { optionNames } from "../core/known-options.js";
import type { ModelDType } from "../core/tensor.js";
import {
  checkQuantization,
  MODEL_OPTIONS,
  type ModelOptions,
  QUANTIZATION_OPTIONS,
  type QuantizationOptions,
} from "../models/pretrained.js";
import type { JsonObject } from "../models/schema.js";
import { native } from "../runtime/native.js";
import type { ModelClass } from "./registry.js";

/** Options of a pipeline's models, wherever they come from. */
export interface PipelineModelOptions extends Omit<ModelOptions, "device" | "variant">, QuantizationOptions {
  /** "auto" (default): the first CUDA device that works, else the CPU. */
  device?: string;
  /**
   * Type of the autoencoder. Default `dtype`, but "float32" if that is "float16" and the autoencoder's configuration
   * has `"force_upcast": true`: such autoencoders overflow in float16.
   */
  vaeDtype?: ModelDType;
}

const { variant: _, ...OF_EVERY_MODEL } = MODEL_OPTIONS;

/** The names of {@link PipelineModelOptions}. */
export const PIPELINE_MODEL_OPTIONS = optionNames<PipelineModelOptions>()({
  ...OF_EVERY_MODEL,
  ...QUANTIZATION_OPTIONS,
  vaeDtype: true,
});

/** {@link PipelineModelOptions} whose device and type are resolved. */
export type PlacedModelOptions<O extends PipelineModelOptions = PipelineModelOptions> = O & {
  device: string;
  dtype: ModelDType;
};

/**
 * The options with the device and the type that they mean. A missing libtorch, and what cannot be combined, is reported
 * before anything is read or downloaded.
 *
 * @throws `ERR_LIBTORCH_NOT_FOUND`, `ERR_CUDA_UNAVAILABLE`, `ERR_INVALID_ARGUMENT`
 */
export function onDevice<O extends PipelineModelOptions>(options: O): PlacedModelOptions<O> {
  native();
  const device = resolveDevice(options.device ?? "auto");
  const dtype = resolveDType(options.dtype ?? "float32", device);
  checkQuantization(options.quantization ?? "none", dtype, device);
  return { ...options, device, dtype };
}

/**
 * The options of a pipeline that apply to a model of this class.
 *
 * @param config of the model, without defaults
 */
export function modelOptions(
  { className }: ModelClass,
  config: JsonObject,
  { vaeDtype, quantization, ...options }: PlacedModelOptions,
): Omit<ModelOptions, "variant"> & QuantizationOptions {
  const { dtype, device, attention, signal, allowNonFinite, suggestAllowNonFinite } = options;
  const model = { dtype, device, attention, allowNonFinite, suggestAllowNonFinite, signal };
  if (className === "UNet2DConditionModel") return { ...model, quantization };
  if (className !== "AutoencoderKL") return model;
  return { ...model, dtype: vaeDtype ?? autoencoderType(config, dtype) };
}

/**
 * Only an explicit key counts: its default is true, but many older files of autoencoders that work in float16 omit it,
 * and diffusers runs these in float16.
 */
function autoencoderType({ force_upcast }: JsonObject, dtype: ModelDType): ModelDType {
  return dtype === "float16" && force_upcast === true ? "float32" : dtype;
}
