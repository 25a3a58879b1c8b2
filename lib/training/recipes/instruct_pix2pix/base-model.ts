import { join } from "node:path";
import { checkPipeline, type PipelineDescription, slotsOf } from "../../../components/description.js";
import { InstructPix2PixError } from "../../../core/errors.js";
import type { Generator } from "../../../core/generator.js";
import { type ModelDType, Tensor } from "../../../core/tensor.js";
import { readConfig } from "../../../files/config.js";
import { resolvePretrained } from "../../../hub/index.js";
import { AutoencoderKL } from "../../../models/autoencoder_kl.js";
import { CLIPTextModel } from "../../../models/clip_text_model.js";
import type { ModelOptions } from "../../../models/pretrained.js";
import { UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import { checkLatentChannels, checkTextWidth, checkVocabulary } from "../../../pipelines/compatibility.js";
import {
  INSTRUCT_PIX2PIX,
  STABLE_DIFFUSION_SLOTS,
  type StableDiffusionComponents,
} from "../../../pipelines/components.js";
import { native } from "../../../runtime/native.js";
import { DDPMScheduler } from "../../../schedulers/ddpm.js";
import { SCHEDULER_CONFIG } from "../../../schedulers/registry.js";
import type { Scheduler } from "../../../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../../../tokenizer/clip_tokenizer.js";

/** The model that training starts from: frozen autoencoder, text encoder (frozen or not), and the UNet in float32. */
export interface BaseModel {
  /** Its folder. */
  folder: string;
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

export interface BaseModelOptions {
  pretrainedModelNameOrPath: string;
  revision?: string;
  variant?: string;
  nonEmaRevision?: string;
  cacheDir?: string;
  hubToken?: string;
  device: string;
  /** Type of the frozen models. */
  frozenDType: ModelDType;
  trainTextEncoder: boolean;
  /** The result of {@link resolveBaseModel}; resolved if omitted. */
  folder?: string;
  /** Folders to load the trained models from, instead of the base model. */
  trained?: { unet: string; textEncoder?: string };
  signal?: AbortSignal;
}

/** An InstructPix2Pix model, or a text-to-image model to make one of. */
const BASE: PipelineDescription<StableDiffusionComponents> = {
  ...INSTRUCT_PIX2PIX,
  check({ unet, vae, textEncoder, tokenizer }, index) {
    const { latent_channels: latents } = vae;
    if (unet.in_channels !== latents) checkLatentChannels(unet, vae, index);
    checkTextWidth(unet, [textEncoder]);
    checkVocabulary(tokenizer, textEncoder);
  },
};

/** The folder of the base model, downloaded from the hub if necessary. */
export function resolveBaseModel(options: Omit<BaseModelOptions, "device" | "frozenDType">): Promise<string> {
  const { variant, cacheDir, signal, revision, hubToken: token } = options;
  const components = slotsOf(BASE).map(([, slot]) => slot.folder);
  const checkConfigs = (folder: string) => checkPipeline(BASE, folder);
  const files = { revision, variant, cacheDir, token, signal, components, checkConfigs };
  return resolvePretrained(options.pretrainedModelNameOrPath, files);
}

/**
 * Loads the models for training.
 *
 * @throws as `InstructPix2PixPipeline.fromPretrained`; `ERR_CONFIG` for a prediction type that cannot be trained
 */
export async function loadBaseModel(options: BaseModelOptions): Promise<BaseModel> {
  const { frozenDType: dtype, variant, trainTextEncoder, trained } = options;
  const model: ModelOptions = { device: options.device, signal: options.signal, suggestAllowNonFinite: false };
  const folder = options.folder ?? (await resolveBaseModel(options));
  const { ready } = await checkPipeline(BASE, folder);
  const { tokenizer, scheduler } = ready as StableDiffusionComponents;
  const path = (part: keyof StableDiffusionComponents) => join(folder, STABLE_DIFFUSION_SLOTS[part].folder);
  const schedulerConfig = await readConfig(join(path("scheduler"), SCHEDULER_CONFIG));
  const noiseSchedule = DDPMScheduler.fromConfig(schedulerConfig);
  const predictionType = schedulerConfig.prediction_type ?? "epsilon";
  if (predictionType !== "epsilon" && predictionType !== "v_prediction")
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `${join(path("scheduler"), SCHEDULER_CONFIG)}: "prediction_type" is ${JSON.stringify(predictionType)}; training knows "epsilon" and "v_prediction"`,
    );
  const loaded: { dispose(): void }[] = [];
  try {
    const textEncoder = await CLIPTextModel.fromPretrained(trained?.textEncoder ?? path("textEncoder"), {
      ...model,
      dtype: trainTextEncoder ? "float32" : dtype,
      variant: trained?.textEncoder ? undefined : variant,
    });
    loaded.push(textEncoder);
    const vae = await AutoencoderKL.fromPretrained(path("vae"), { ...model, dtype, variant });
    loaded.push(vae);
    const latents = vae.config.latent_channels;
    const { unet, extended } = await UNet2DConditionModel.fromPretrainedExtended(
      trained?.unet ?? (await unetFolder(folder, options)),
      // A checkpoint's UNet has them all.
      { existing: trained ? undefined : latents, inChannels: 2 * latents },
      model,
    );
    return { folder, tokenizer, textEncoder, vae, unet, extended, scheduler, noiseSchedule, predictionType };
  } catch (error) {
    for (const part of loaded) part.dispose();
    throw error;
  }
}

/** The reference loads the UNet with a separate revision option and never as a variant. */
async function unetFolder(folder: string, options: BaseModelOptions): Promise<string> {
  const { nonEmaRevision, cacheDir, signal } = options;
  const { unet } = STABLE_DIFFUSION_SLOTS;
  if (nonEmaRevision === undefined) return join(folder, unet.folder);
  const other = await resolvePretrained(options.pretrainedModelNameOrPath, {
    revision: nonEmaRevision,
    cacheDir,
    token: options.hubToken,
    signal,
    components: [unet.folder],
  });
  return join(other, unet.folder);
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
