import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { resolveWeights } from "../models/weights.js";
import { loadSafetensors, saveSafetensors } from "../safetensors.js";
import type { Tensor } from "../tensor.js";
import { disposeRecord } from "./trainer.js";

/** Version of diffusers whose file formats are written. */
const DIFFUSERS_VERSION = "0.40.0";

/** Writes a UNet as a diffusers model folder. Errors of the file system pass through. */
export async function saveUNet(
  folder: string,
  unet: UNet2DConditionModel,
  weights: Record<string, Tensor>,
  extra: Record<string, unknown> = {},
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const config = {
    _class_name: "UNet2DConditionModel",
    _diffusers_version: DIFFUSERS_VERSION,
    ...unet.config,
    ...extra,
  };
  await writeFile(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
  await saveSafetensors(join(folder, "diffusion_pytorch_model.safetensors"), weights, { format: "pt" });
}

/**
 * Writes a whole InstructPix2Pix pipeline that diffusers loads: the trained UNet, and the frozen parts of the base model as
 * they came, byte for byte.
 */
export async function savePipeline(
  outputDir: string,
  parts: {
    base: string;
    variant?: string;
    unet: UNet2DConditionModel;
    weights: Record<string, Tensor>;
    scheduler: string;
  },
): Promise<void> {
  await mkdir(outputDir, { recursive: true });
  await copyModel(join(parts.base, "text_encoder"), join(outputDir, "text_encoder"), "model", parts.variant);
  await copyModel(join(parts.base, "vae"), join(outputDir, "vae"), "diffusion_pytorch_model", parts.variant);
  await copyFolder(join(parts.base, "tokenizer"), join(outputDir, "tokenizer"), /\.(json|txt)$/);
  await copyFolder(join(parts.base, "scheduler"), join(outputDir, "scheduler"), /\.json$/);
  await saveUNet(join(outputDir, "unet"), parts.unet, parts.weights);
  const index = {
    _class_name: "StableDiffusionInstructPix2PixPipeline",
    _diffusers_version: DIFFUSERS_VERSION,
    feature_extractor: [null, null],
    image_encoder: [null, null],
    requires_safety_checker: false,
    safety_checker: [null, null],
    scheduler: ["diffusers", parts.scheduler],
    text_encoder: ["transformers", "CLIPTextModel"],
    tokenizer: ["transformers", "CLIPTokenizer"],
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: ["diffusers", "AutoencoderKL"],
  };
  // Last, so that a folder with an index is a whole pipeline.
  await writeFile(join(outputDir, "model_index.json"), `${JSON.stringify(index, null, 2)}\n`);
}

async function copyFolder(from: string, to: string, names: RegExp): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) if (names.test(name)) await copyFile(join(from, name), join(to, name));
}

/** A plain single file is copied; shards and variants become one file under the plain name. */
async function copyModel(
  from: string,
  to: string,
  baseName: "model" | "diffusion_pytorch_model",
  variant: string | undefined,
): Promise<void> {
  await mkdir(to, { recursive: true });
  await copyFile(join(from, "config.json"), join(to, "config.json"));
  const { files } = await resolveWeights(from, { variant, baseName });
  const target = join(to, `${baseName}.safetensors`);
  if (files.length === 1) return copyFile(files[0]!, target);
  const tensors: Record<string, Tensor> = Object.create(null);
  try {
    for (const file of files) Object.assign(tensors, await loadSafetensors(file));
    await saveSafetensors(target, tensors, { format: "pt" });
  } finally {
    disposeRecord(tensors);
  }
}
