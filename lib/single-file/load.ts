import { join } from "node:path";
import type { PipelineConfigs } from "../components/description.js";
import { componentClass, readModelIndex } from "../components/model-index.js";
import { describe } from "../core/arguments.js";
import { resolveDevice } from "../core/device.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import type { ModelDType } from "../core/tensor.js";
import { readConfig } from "../files/config.js";
import { AutoencoderKL, singleFileAutoencoderConfig } from "../models/autoencoder_kl.js";
import { CLIPTextModel, singleFileTextEncoderConfig } from "../models/clip_text_model.js";
import { checkQuantization, QUANTIZATION_OPTIONS, type QuantizationOptions } from "../models/pretrained.js";
import { singleFileUNetConfig, UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { checkFit, type StableDiffusionComponents } from "../pipelines/components.js";
import { native } from "../runtime/native.js";
import { checkedScheduler } from "../schedulers/check.js";
import { SCHEDULER_NAMES, schedulerFromClassName } from "../schedulers/registry.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { builtInTokenizer } from "../tokenizer/built-in.js";
import { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import { inferAutoencoderConfig } from "./autoencoder-config.js";
import { componentOf, openSingleFile, type SingleFile } from "./file.js";
import { resolveConfigFolder, SINGLE_FILE_MODEL_OPTIONS, type SingleFileModelOptions } from "./model.js";
import { defaultScheduler } from "./scheduler.js";

export interface FromSingleFileOptions extends Omit<SingleFileModelOptions, "device">, QuantizationOptions {
  /** "auto" (default): the first CUDA device that works, else the CPU. */
  device?: string;
  /**
   * Type of the autoencoder. Default `dtype`, but "float32" if that is "float16" and the autoencoder's configuration
   * has `"force_upcast": true`.
   */
  vaeDtype?: ModelDType;
  /** Used instead of that of `config`, or of CLIP's, which comes with this package. */
  tokenizer?: CLIPTokenizer;
  /** Used instead of that of `config`, or of the published model of the file's kind. */
  scheduler?: Scheduler;
  /**
   * What the UNet predicts, which a file does not say. Default that of `config`, or "v_prediction" for Stable Diffusion 2
   * and "epsilon" for others; give "epsilon" for Stable Diffusion 2 base.
   */
  predictionType?: "epsilon" | "v_prediction";
}

const OPTIONS = optionNames<FromSingleFileOptions>()({
  ...SINGLE_FILE_MODEL_OPTIONS,
  ...QUANTIZATION_OPTIONS,
  vaeDtype: true,
  tokenizer: true,
  scheduler: true,
  predictionType: true,
});

/** diffusers' class for the components of a file. */
export type SingleFileClass =
  | "StableDiffusionPipeline"
  | "StableDiffusionInstructPix2PixPipeline"
  | "StableDiffusionInpaintPipeline";

/** What a single file holds. */
export interface SingleFilePipeline {
  /** By the UNet's input channels: noisy latents alone, with those of a picture, or with a mask as well. */
  className: SingleFileClass;
  components: StableDiffusionComponents;
}

/** The first component of each kind of model that cannot be loaded yet. */
const UNSUPPORTED = {
  sdxl: "is a Stable Diffusion XL model, which is not supported: its second text encoder and the UNet's added embeddings cannot be loaded",
  "sdxl-refiner":
    "is a Stable Diffusion XL refiner, which is not supported: its text encoder and the UNet's added embeddings cannot be loaded",
  autoencoder: "is an autoencoder alone: load it with AutoencoderKL.fromSingleFile",
} as const;

/**
 * Loads the components of a Stable Diffusion model (1 or 2; text-to-image, InstructPix2Pix or inpainting) from one
 * safetensors file in the original layout. Configurations are inferred from the header; the tokenizer and the
 * scheduler's settings, which such files lack, come from the options or are those of the published models.
 *
 * @param path path of the file
 * @param check refuses components that do not fit together, or a pipeline, before weights are read
 * @throws `ERR_INVALID_ARGUMENT`, `ERR_FILE_NOT_FOUND`, `ERR_SAFETENSORS`, `ERR_STATE_DICT` for another layout and for
 *   missing or unknown tensors, `ERR_CONFIG` for a model that is not supported or components that do not fit together,
 *   all before weights are read; `ERR_NOT_FINITE`, `ERR_OUT_OF_MEMORY`, `ERR_HUB` for `config`
 */
export async function loadSingleFile(
  path: string,
  options: FromSingleFileOptions = {},
  check: (configs: PipelineConfigs<StableDiffusionComponents>) => void = checkFit,
): Promise<SingleFilePipeline> {
  const given = checkGiven(options);
  native(); // a missing libtorch is reported before anything of the file is looked at
  const device = resolveDevice(given.device ?? "auto");
  const { dtype = "float32", quantization = "none", attention, allowNonFinite, suggestAllowNonFinite, signal } = given;
  checkQuantization(quantization, dtype, device);
  const file = await openSingleFile(path);
  if (file.family !== "sd1" && file.family !== "sd2")
    throw new InstructPix2PixError(
      file.family === "autoencoder" ? "ERR_STATE_DICT" : "ERR_CONFIG",
      `${path}: ${UNSUPPORTED[file.family]}`,
    );
  for (const component of ["unet", "vae", "text_encoder"] as const) componentOf(file, component);
  const config = await resolveConfigFolder(given);
  const unetConfig = await singleFileUNetConfig(file, config);
  const vaeConfig = await singleFileAutoencoderConfig(file, config);
  const textConfig = await singleFileTextEncoderConfig(file, config);
  const className = classOf(file, unetConfig.in_channels, vaeConfig.latent_channels);
  const scheduler = await schedulerOf(file, unetConfig.in_channels, config, given);
  const tokenizer = given.tokenizer ?? (await tokenizerOf(file, config));
  check({ unet: unetConfig, vae: vaeConfig, textEncoder: textConfig, tokenizer, scheduler });

  const model = { dtype, device, attention, allowNonFinite, suggestAllowNonFinite, signal, config };
  const loaded: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(part: T): T => {
    loaded.push(part);
    return part;
  };
  try {
    const textEncoder = keep(await CLIPTextModel.fromSingleFile(path, model));
    const vaeDtype = given.vaeDtype ?? (await autoencoderType(file, config, dtype));
    const vae = keep(await AutoencoderKL.fromSingleFile(path, { ...model, dtype: vaeDtype }));
    const unet = keep(await UNet2DConditionModel.fromSingleFile(path, { ...model, quantization }));
    return { className, components: { vae, textEncoder, tokenizer, unet, scheduler } };
  } catch (error) {
    for (const part of loaded) part.dispose();
    throw error;
  }
}

function checkGiven(options: FromSingleFileOptions): FromSingleFileOptions {
  const given = checkOptions(options, OPTIONS);
  const { predictionType, scheduler, tokenizer } = given;
  const invalid = (problem: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
  if (predictionType !== undefined && predictionType !== "epsilon" && predictionType !== "v_prediction")
    throw invalid(`predictionType must be "epsilon" or "v_prediction", not ${describe(predictionType)}`);
  if (predictionType !== undefined && scheduler !== undefined)
    throw invalid("predictionType is part of the given scheduler's configuration: give one of the two");
  if (tokenizer !== undefined && typeof tokenizer?.encode !== "function")
    throw invalid(`tokenizer must be a CLIPTokenizer, not ${describe(tokenizer)}`);
  if (scheduler !== undefined) checkedScheduler(scheduler);
  return given;
}

function classOf(file: SingleFile, channels: number, latents: number): SingleFileClass {
  if (channels === latents) return "StableDiffusionPipeline";
  if (channels === 2 * latents) return "StableDiffusionInstructPix2PixPipeline";
  if (channels === 2 * latents + 1) return "StableDiffusionInpaintPipeline";
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `${file.path}: the UNet takes ${channels} channels: those of text-to-image, InstructPix2Pix and inpainting models take ${latents}, ${2 * latents} and ${2 * latents + 1}`,
  );
}

async function schedulerOf(
  file: SingleFile,
  channels: number,
  folder: string | undefined,
  { scheduler, predictionType }: FromSingleFileOptions,
): Promise<Scheduler> {
  if (scheduler !== undefined) return scheduler;
  const overrides = predictionType === undefined ? {} : { prediction_type: predictionType };
  if (folder === undefined) {
    const { className, config } = defaultScheduler(file.family, channels);
    return schedulerFromClassName(className).fromConfig(config, overrides);
  }
  const className = componentClass(await readModelIndex(folder), "scheduler", SCHEDULER_NAMES);
  const config = await readConfig(join(folder, "scheduler", "scheduler_config.json"));
  return schedulerFromClassName(className).fromConfig(config, overrides);
}

/** Stable Diffusion 2 pads texts with the id 0, which is "!", others with the end marker. */
function tokenizerOf({ family }: SingleFile, folder: string | undefined): Promise<CLIPTokenizer> {
  if (folder !== undefined) return CLIPTokenizer.fromPretrained(join(folder, "tokenizer"));
  return CLIPTokenizer.fromPretrained(builtInTokenizer, family === "sd2" ? { padToken: "!" } : {});
}

/** Only an explicit key of the configuration counts, as in a folder. */
async function autoencoderType(file: SingleFile, folder: string | undefined, dtype: ModelDType): Promise<ModelDType> {
  if (dtype !== "float16") return dtype;
  const config =
    folder === undefined ? inferAutoencoderConfig(file) : await readConfig(join(folder, "vae", "config.json"));
  return config.force_upcast === true ? "float32" : dtype;
}
