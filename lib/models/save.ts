import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Tensor } from "../core/tensor.js";
import { saveSafetensors } from "../files/safetensors.js";
import type { ModelKind } from "../runtime/contract/index.js";

/** Version of diffusers whose file formats are written. */
export const DIFFUSERS_VERSION = "0.40.0";

/** The weights' file in a model folder. */
export const WEIGHTS_FILE: Record<ModelKind, string> = {
  UNet2DConditionModel: "diffusion_pytorch_model.safetensors",
  AutoencoderKL: "diffusion_pytorch_model.safetensors",
  CLIPTextModel: "model.safetensors",
  CLIPTextModelWithProjection: "model.safetensors",
};

/** Writes a model folder as diffusers or transformers read it. Errors of the file system pass through. */
export async function writeModel(
  folder: string,
  kind: ModelKind,
  config: object,
  weights: Record<string, Tensor>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const named = isTextModel(kind)
    ? { ...config, architectures: [kind], model_type: "clip_text_model" }
    : { _class_name: kind, _diffusers_version: DIFFUSERS_VERSION, ...config };
  await writeFile(join(folder, "config.json"), `${JSON.stringify(named, null, 2)}\n`);
  await saveSafetensors(join(folder, WEIGHTS_FILE[kind]), namedAsInFiles(kind, weights), { format: "pt" });
}

/** Weights by their names in files: transformers adds a prefix to those of a text encoder. */
export function namedAsInFiles(kind: ModelKind, weights: Record<string, Tensor>): Record<string, Tensor> {
  if (!isTextModel(kind)) return weights;
  const named = (name: string) => (name.startsWith("text_projection.") ? name : `text_model.${name}`);
  return Object.fromEntries(Object.entries(weights).map(([name, tensor]) => [named(name), tensor]));
}

function isTextModel(kind: ModelKind): boolean {
  return kind === "CLIPTextModel" || kind === "CLIPTextModelWithProjection";
}
