import { copyFile, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Tensor } from "../../../core/tensor.js";
import { disk } from "../../../files/file-system.js";
import { ioError } from "../../../files/io-error.js";
import { loadSafetensors, saveSafetensors } from "../../../files/safetensors.js";
import { readTree, syncPath } from "../../../files/tree.js";
import type { CLIPTextModel } from "../../../models/clip_text_model.js";
import { DIFFUSERS_VERSION, writeModel } from "../../../models/save.js";
import type { UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import { resolveWeights } from "../../../models/weights.js";
import { disposeRecord } from "../../named-tensors.js";

/** The content of a saved pipeline. */
export interface PipelineParts {
  /** The base model's folder. */
  base: string;
  variant?: string;
  unet: UNet2DConditionModel;
  /** Null if not trained: the base model's is copied. */
  textEncoder: CLIPTextModel | null;
  /** EMA weights by model. */
  weights: { unet: Record<string, Tensor>; textEncoder: Record<string, Tensor> };
  /** The scheduler's class in diffusers. */
  scheduler: string;
  /** The text of README.md. */
  card: string;
}

/** Written last: its presence means that the pipeline is complete. */
export const PIPELINE_INDEX = "model_index.json";
/** Temporary folder below the output folder. */
const UNFINISHED = ".model.tmp";

/**
 * Writes a complete InstructPix2Pix pipeline that diffusers loads: the trained models, and byte-identical copies of the
 * base model's frozen components. An existing model is kept until the new one is entirely on the disk.
 *
 * @throws `ERR_IO`, with nothing unfinished left behind
 */
export async function savePipeline(outputDir: string, parts: PipelineParts): Promise<void> {
  const unfinished = join(outputDir, UNFINISHED);
  try {
    await rm(unfinished, { recursive: true, force: true });
    try {
      await writePipeline(unfinished, parts);
      await moveContents(unfinished, outputDir);
    } finally {
      // The original error takes precedence.
      await rm(unfinished, { recursive: true, force: true }).catch(() => {});
    }
  } catch (error) {
    throw ioError("save the model in", outputDir, error);
  }
}

async function writePipeline(folder: string, parts: PipelineParts): Promise<void> {
  await mkdir(folder, { recursive: true });
  if (parts.textEncoder)
    await writeModel(
      join(folder, "text_encoder"),
      "CLIPTextModel",
      parts.textEncoder.config,
      parts.weights.textEncoder,
    );
  else await copyModel(join(parts.base, "text_encoder"), join(folder, "text_encoder"), "model", parts.variant);
  await copyModel(join(parts.base, "vae"), join(folder, "vae"), "diffusion_pytorch_model", parts.variant);
  await copyFolder(join(parts.base, "tokenizer"), join(folder, "tokenizer"), /\.(json|txt)$/);
  await copyFolder(join(parts.base, "scheduler"), join(folder, "scheduler"), /\.json$/);
  await writeModel(join(folder, "unet"), "UNet2DConditionModel", parts.unet.config, parts.weights.unet);
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
  await writeFile(join(folder, PIPELINE_INDEX), `${JSON.stringify(index, null, 2)}\n`);
  await writeFile(join(folder, "README.md"), parts.card);
}

/** Moves the synced files; the index goes last, so that a folder with an index is a complete pipeline. */
async function moveContents(from: string, to: string): Promise<void> {
  const { files, folders } = await readTree(disk, from);
  for (const file of files) await syncPath(disk, join(from, file), "file");
  await rm(join(to, PIPELINE_INDEX), { force: true });
  for (const folder of folders) await mkdir(join(to, folder), { recursive: true });
  for (const file of [...files.filter((name) => name !== PIPELINE_INDEX), PIPELINE_INDEX])
    await rename(join(from, file), join(to, file));
  for (const folder of folders) await syncPath(disk, join(to, folder), "folder");
}

async function copyFolder(from: string, to: string, names: RegExp): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) if (names.test(name)) await copyFile(join(from, name), join(to, name));
}

/** A single plain file is copied; shards and variants become one file with the plain name. */
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
