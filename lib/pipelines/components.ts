import { join } from "node:path";
import { resolveDevice } from "../device.js";
import { type ResolveOptions, resolvePretrained } from "../hub.js";
import { AutoencoderKL } from "../models/autoencoder_kl.js";
import { CLIPTextModel } from "../models/clip_text_model.js";
import { readModelIndex } from "../models/model_index.js";
import type { ModelOptions } from "../models/pretrained.js";
import { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { native } from "../native/native.js";
import { loadScheduler } from "../schedulers/registry.js";
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
  await readModelIndex(join(folder, "model_index.json"), ["vae", "text_encoder", "tokenizer", "unet", "scheduler"]);
  const { dtype, variant, attention, signal } = options;
  const model: ModelOptions = { dtype, device, variant, attention, signal };
  const tokenizer = await CLIPTokenizer.fromPretrained(join(folder, "tokenizer"));
  const scheduler = await loadScheduler(join(folder, "scheduler"));
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
