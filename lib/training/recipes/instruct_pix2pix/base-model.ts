import { InstructPix2PixError } from "../../../core/errors.js";
import type { Generator } from "../../../core/generator.js";
import { type ModelDType, Tensor } from "../../../core/tensor.js";
import { isFile } from "../../../files/is-file.js";
import type { AutoencoderKL } from "../../../models/autoencoder_kl.js";
import { CLIPTextModel } from "../../../models/clip_text_model.js";
import type { ModelOptions } from "../../../models/pretrained.js";
import { UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import { native } from "../../../runtime/native.js";
import { DDPMScheduler } from "../../../schedulers/ddpm.js";
import type { Scheduler } from "../../../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../../../tokenizer/clip_tokenizer.js";
import type { BaseLocation, BaseSource } from "./base-source.js";
import { FileSource } from "./file-source.js";
import { FolderSource } from "./folder-source.js";

/** The model that training starts from: frozen autoencoder, text encoder (frozen or not), and the UNet in float32. */
export interface BaseModel {
  source: BaseSource;
  tokenizer: CLIPTokenizer;
  textEncoder: CLIPTextModel;
  vae: AutoencoderKL;
  unet: UNet2DConditionModel;
  /** Whether the UNet was a text-to-image model's and its first convolution was widened. */
  extended: boolean;
  /** The base model's own, for validation and the saved pipeline. */
  scheduler: Scheduler;
  /** The noise schedule of training: DDPM with the settings of the base model's scheduler, of any class. */
  noiseSchedule: DDPMScheduler;
  predictionType: "epsilon" | "v_prediction";
}

export interface BaseModelOptions extends BaseLocation {
  device: string;
  /** Type of the frozen models. */
  frozenDType: ModelDType;
  trainTextEncoder: boolean;
  /** Folders to load the trained models from, instead of the base model. */
  trained?: { unet: string; textEncoder?: string };
}

/**
 * Checks the options for where the base model is, without a look at the hub.
 *
 * @throws `ERR_INVALID_ARGUMENT` for one that is of no use with a single file, or only with one
 */
export async function checkLocation(location: BaseLocation): Promise<void> {
  const refuse = (problem: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
  const { config, variant, nonEmaRevision: non_ema_revision } = location;
  if (!(await isFile(location.pretrainedModelNameOrPath))) {
    if (config !== undefined) throw refuse("config is for a model in a single file, but the model is none");
    return;
  }
  for (const [name, value] of Object.entries({ variant, non_ema_revision }))
    if (value !== undefined) throw refuse(`${name} chooses among weights of a repository, but the model is a file`);
}

async function openSource(location: BaseLocation): Promise<BaseSource> {
  await checkLocation(location);
  const single = await isFile(location.pretrainedModelNameOrPath);
  return single ? FileSource.open(location) : FolderSource.open(location);
}

/**
 * Loads the models for training.
 *
 * @throws as `InstructPix2PixPipeline.fromPretrained` and `fromSingleFile`; `ERR_CONFIG` for a prediction type that cannot be
 *   trained
 */
export async function loadBaseModel(options: BaseModelOptions): Promise<BaseModel> {
  const { frozenDType, trainTextEncoder, trained } = options;
  const model: ModelOptions = { device: options.device, signal: options.signal, suggestAllowNonFinite: false };
  const source = await openSource(options);
  const { tokenizer, scheduler } = source;
  const noiseSchedule = DDPMScheduler.fromConfig(scheduler.config);
  const predictionType = scheduler.config.prediction_type ?? "epsilon";
  if (predictionType !== "epsilon" && predictionType !== "v_prediction")
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `${source.schedulerPath}: "prediction_type" is ${JSON.stringify(predictionType)}; training knows "epsilon" and "v_prediction"`,
    );
  const loaded: { dispose(): void }[] = [];
  try {
    const ofText: ModelOptions = { ...model, dtype: trainTextEncoder ? "float32" : frozenDType };
    const textEncoder = trained?.textEncoder
      ? await CLIPTextModel.fromPretrained(trained.textEncoder, ofText)
      : await source.loadTextEncoder(ofText);
    loaded.push(textEncoder);
    const vae = await source.loadAutoencoder({ ...model, dtype: frozenDType });
    loaded.push(vae);
    const existing = vae.config.latent_channels;
    const { unet, extended } = trained
      ? // A checkpoint's UNet has all channels.
        await UNet2DConditionModel.fromPretrainedExtended(trained.unet, { inChannels: 2 * existing }, model)
      : await source.loadUNet({ existing, inChannels: 2 * existing }, model);
    return { source, tokenizer, textEncoder, vae, unet, extended, scheduler, noiseSchedule, predictionType };
  } catch (error) {
    for (const part of loaded) part.dispose();
    throw error;
  }
}

/**
 * Makes the reference's random draws for widening the first convolution and, like the reference, keeps only the bias,
 * which replaces the trained one.
 */
export async function drawConvInLikeReference(unet: UNet2DConditionModel, generator: Generator): Promise<void> {
  const { in_channels: inChannels, conv_in_kernel: kernel, block_out_channels } = unet.config;
  const outChannels = block_out_channels[0]!;
  const fanIn = inChannels * kernel * kernel;
  (await Tensor.rand([outChannels * fanIn], { generator })).dispose();
  using uniform = await Tensor.rand([outChannels], { generator });
  const bound = 1 / Math.sqrt(fanIn);
  using spread = await uniform.mul(2 * bound);
  using bias = await spread.sub(bound);
  await native().setModelParameter(unet.handle, "conv_in.bias", bias.handle);
}

export function disposeBaseModel({ textEncoder, vae, unet }: BaseModel): void {
  for (const part of [textEncoder, vae, unet]) part.dispose();
}
