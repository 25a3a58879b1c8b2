import { join } from "node:path";
import { resolveDevice } from "../device.js";
import { InstructPix2PixError } from "../errors.js";
import { type ResolveOptions, resolvePretrained } from "../hub.js";
import { AutoencoderKL } from "../models/autoencoder_kl.js";
import { CLIPTextModel } from "../models/clip_text_model.js";
import { readConfig } from "../models/config.js";
import { componentClass, readModelIndex } from "../models/model-index.js";
import { checkQuantization, type ModelOptions, type QuantizationOptions } from "../models/pretrained.js";
import { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { listVariants } from "../models/weights.js";
import { native } from "../native/native.js";
import { SCHEDULER_NAMES, schedulerFromClassName } from "../schedulers/registry.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { CLIPTokenizer } from "../tokenizer.js";

/** The parts that pipelines of the Stable Diffusion family share. */
export interface StableDiffusionComponents {
  vae: AutoencoderKL;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
}

export interface FromPretrainedOptions
  extends Omit<ModelOptions, "device">,
    QuantizationOptions,
    Omit<ResolveOptions, "signal" | "variant"> {
  /** "auto" (default): the first CUDA device that works, else the CPU. */
  device?: string;
}

/**
 * Loads a pipeline folder as diffusers saves it: `model_index.json` and one folder per component.
 *
 * @param pathOrId a folder, or an id on the Hugging Face hub
 */
export async function loadComponents(
  pathOrId: string,
  options: FromPretrainedOptions = {},
): Promise<StableDiffusionComponents> {
  native(); // a missing libtorch is reported before anything is downloaded
  const device = resolveDevice(options.device ?? "auto");
  const { dtype, variant, attention, quantization = "none", signal } = options;
  checkQuantization(quantization, dtype ?? "float32", device); // before anything is downloaded
  const folder = await resolvePretrained(pathOrId, options);
  const index = await readModelIndex(folder);
  componentClass(index, "vae", ["AutoencoderKL"]);
  componentClass(index, "text_encoder", ["CLIPTextModel"]);
  componentClass(index, "tokenizer", ["CLIPTokenizer", "CLIPTokenizerFast"]);
  componentClass(index, "unet", ["UNet2DConditionModel"]);
  const model: ModelOptions = { dtype, device, attention, signal };
  const variantOf = variant === undefined ? noVariant : await componentVariants(folder, variant);
  const tokenizer = await CLIPTokenizer.fromPretrained(join(folder, "tokenizer"));
  // The class is the one model_index.json names, as in diffusers, whatever the scheduler's own file says.
  const Class = schedulerFromClassName(componentClass(index, "scheduler", SCHEDULER_NAMES));
  const scheduler = Class.fromConfig(await readConfig(join(folder, "scheduler", "scheduler_config.json")));
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
    const vae = keep(await AutoencoderKL.fromPretrained(join(folder, "vae"), { ...model, variant: variantOf("vae") }));
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

const noVariant = (): undefined => undefined;

/** Base names of the components' weight files. */
const WEIGHTS = { vae: "diffusion_pytorch_model", unet: "diffusion_pytorch_model", text_encoder: "model" } as const;

/**
 * Which components are to be read in the variant: as in diffusers those that have it, which must be one of them at least.
 *
 * @throws `ERR_STATE_DICT` listing the variants that there are
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
      `${folder}: no component has the variant "${variant}"; there ${known.length > 0 ? `are: ${known.join(", ")}` : "are no variants"}`,
    );
  }
  return (component) => (present.get(component)?.includes(variant) ? variant : undefined);
}
