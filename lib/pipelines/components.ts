import { join } from "node:path";
import { resolveDevice } from "../device.js";
import { type ResolveOptions, resolvePretrained } from "../hub.js";
import { AutoencoderKL } from "../models/autoencoder_kl.js";
import { CLIPTextModel } from "../models/clip_text_model.js";
import { readConfig } from "../models/config.js";
import { componentClass, readModelIndex } from "../models/model-index.js";
import type { ModelOptions } from "../models/pretrained.js";
import { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { native } from "../native/native.js";
import { schedulerFromClassName } from "../schedulers/registry.js";
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
  const folder = await resolvePretrained(pathOrId, options);
  const index = await readModelIndex(folder);
  componentClass(index, "vae", ["AutoencoderKL"]);
  componentClass(index, "text_encoder", ["CLIPTextModel"]);
  componentClass(index, "tokenizer", ["CLIPTokenizer", "CLIPTokenizerFast"]);
  componentClass(index, "unet", ["UNet2DConditionModel"]);
  const { dtype, variant, attention, signal } = options;
  const model: ModelOptions = { dtype, device, variant, attention, signal };
  const tokenizer = await CLIPTokenizer.fromPretrained(join(folder, "tokenizer"));
  // The class is the one model_index.json names, as in diffusers, whatever the scheduler's own file says.
  const Class = schedulerFromClassName(index.components.get("scheduler")?.className ?? "null");
  const scheduler = Class.fromConfig(await readConfig(join(folder, "scheduler", "scheduler_config.json")));
  const loaded: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(part: T): T => {
    loaded.push(part);
    return part;
  };
  try {
    const textEncoder = keep(await CLIPTextModel.fromPretrained(join(folder, "text_encoder"), model));
    const vae = keep(await AutoencoderKL.fromPretrained(join(folder, "vae"), model));
    const unet = keep(await UNet2DConditionModel.fromPretrained(join(folder, "unet"), model));
    return { vae, textEncoder, tokenizer, unet, scheduler };
  } catch (error) {
    for (const part of loaded) part.dispose();
    throw error;
  }
}
