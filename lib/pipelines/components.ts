import { join } from "node:path";
import { describe } from "../core/arguments.js";
import { resolveDevice } from "../core/device.js";
import { InstructPix2PixError } from "../core/errors.js";
import type { ModelDType } from "../core/tensor.js";
import { readConfig } from "../files/config.js";
import { type ResolveOptions, resolvePretrained } from "../hub/index.js";
import { AutoencoderKL, readAutoencoderConfig } from "../models/autoencoder_kl.js";
import { CLIPTextModel, readTextEncoderConfig } from "../models/clip_text_model.js";
import { checkQuantization, type ModelOptions, type QuantizationOptions } from "../models/pretrained.js";
import { readUNetConfig, UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { listVariants } from "../models/weights.js";
import { native } from "../runtime/native.js";
import { schedulerFromClassName } from "../schedulers/registry.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import {
  checkLatentChannels,
  checkPipelineFolder,
  checkPrediction,
  checkVocabulary,
  type UNetCheck,
} from "./compatibility.js";

/** The components of Stable Diffusion pipelines. */
export interface StableDiffusionComponents {
  vae: AutoencoderKL;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
}

/** Options of {@link ResolveOptions} that select files, which do not apply to a whole pipeline. */
const CHOOSE_FILES = ["components", "subfolder", "allowPatterns", "ignorePatterns"] as const;

export interface FromPretrainedOptions
  extends Omit<ModelOptions, "device">,
    QuantizationOptions,
    Omit<ResolveOptions, "signal" | "variant" | "checkConfigs" | (typeof CHOOSE_FILES)[number]> {
  /** "auto" (default): the first CUDA device that works, else the CPU. */
  device?: string;
  /**
   * Type of the autoencoder. Default `dtype`, but "float32" if that is "float16" and the autoencoder's configuration
   * has `"force_upcast": true`: such autoencoders overflow in float16.
   */
  vaeDtype?: ModelDType;
}

/**
 * Loads a pipeline folder as diffusers saves it: `model_index.json` and one folder per component.
 *
 * @param pathOrId a folder, or an id on the Hugging Face hub
 * @param checkUNet refuses UNets that are not for the pipeline
 */
export async function loadComponents(
  pathOrId: string,
  options: FromPretrainedOptions = {},
  checkUNet: UNetCheck = checkLatentChannels,
): Promise<StableDiffusionComponents> {
  native(); // a missing libtorch is reported before anything is downloaded
  checkNames(options);
  const device = resolveDevice(options.device ?? "auto");
  const { dtype = "float32", variant, attention, quantization = "none", allowNonFinite, signal } = options;
  checkQuantization(quantization, dtype, device); // before anything is downloaded
  const check = (at: string) => checkPipelineFolder(at, checkUNet);
  const folder = await resolvePretrained(pathOrId, { ...options, checkConfigs: check });
  const { scheduler: className } = await check(folder);
  const model: ModelOptions = { dtype, device, attention, allowNonFinite, signal };
  const variantOf = variant === undefined ? noVariant : await componentVariants(folder, variant);
  const tokenizer = await CLIPTokenizer.fromPretrained(join(folder, "tokenizer"));
  const schedulerConfig = await readConfig(join(folder, "scheduler", "scheduler_config.json"));
  const scheduler = schedulerFromClassName(className).fromConfig(schedulerConfig);
  await checkParts(folder, tokenizer, scheduler);
  const loaded: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(part: T): T => {
    loaded.push(part);
    return part;
  };
  try {
    const textEncoder = keep(
      await CLIPTextModel.fromPretrained(join(folder, "text_encoder"), {
        ...model,
        variant: variantOf("text_encoder"),
      }),
    );
    const vae = keep(
      await AutoencoderKL.fromPretrained(join(folder, "vae"), {
        ...model,
        dtype: options.vaeDtype ?? (await autoencoderType(folder, dtype)),
        variant: variantOf("vae"),
      }),
    );
    const unet = keep(
      await UNet2DConditionModel.fromPretrained(join(folder, "unet"), {
        ...model,
        variant: variantOf("unet"),
        quantization,
      }),
    );
    return { vae, textEncoder, tokenizer, unet, scheduler };
  } catch (error) {
    for (const part of loaded) part.dispose();
    throw error;
  }
}

/** JavaScript callers may pass options that the type excludes. */
function checkNames(options: unknown): void {
  const invalid = (problem: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
  if (typeof options !== "object" || options === null)
    throw invalid(`options must be an object, not ${describe(options)}`);
  for (const name of CHOOSE_FILES)
    if ((options as Record<string, unknown>)[name] !== undefined)
      throw invalid(`${name} is no option of a pipeline, which needs all of its files; resolvePretrained has it`);
}

/**
 * Checks that the tokenizer and the scheduler fit the models, before those are loaded.
 *
 * @throws `ERR_CONFIG`
 */
async function checkParts(folder: string, tokenizer: CLIPTokenizer, scheduler: Scheduler): Promise<void> {
  checkVocabulary(tokenizer, await readTextEncoderConfig(join(folder, "text_encoder")));
  const vae = await readAutoencoderConfig(join(folder, "vae"));
  checkPrediction(await readUNetConfig(join(folder, "unet")), vae, scheduler);
}

/**
 * Only an explicit key counts: its default is true, but many older files of autoencoders that work in float16 omit it,
 * and diffusers runs these in float16.
 */
async function autoencoderType(folder: string, dtype: ModelDType): Promise<ModelDType> {
  if (dtype !== "float16") return dtype;
  const { force_upcast } = await readConfig(join(folder, "vae", "config.json"));
  return force_upcast === true ? "float32" : dtype;
}

const noVariant = (): undefined => undefined;

/** Base names of the components' weight files. */
const WEIGHTS = { vae: "diffusion_pytorch_model", unet: "diffusion_pytorch_model", text_encoder: "model" } as const;

/**
 * The components that have the variant, as in diffusers; at least one must.
 *
 * @throws `ERR_STATE_DICT` listing the available variants
 */
async function componentVariants(
  folder: string,
  variant: string,
): Promise<(component: keyof typeof WEIGHTS) => string | undefined> {
  const present = new Map<string, string[]>();
  for (const [component, baseName] of Object.entries(WEIGHTS))
    present.set(component, await listVariants(join(folder, component), baseName));
  if (![...present.values()].some((variants) => variants.includes(variant))) {
    const known = [...new Set([...present.values()].flat())];
    throw new InstructPix2PixError(
      "ERR_STATE_DICT",
      `${folder}: no component has the variant "${variant}"; available: ${known.length > 0 ? known.join(", ") : "none"}`,
    );
  }
  return (component) => (present.get(component)?.includes(variant) ? variant : undefined);
}
