import { copyFile, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { disposeAll, type Tensor } from "../core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../files/safetensors.js";
import { resolveWeights } from "../models/weights.js";
import type { ComponentFiles } from "./files.js";

/**
 * Copies a component's folder, byte for byte where possible: shards and variants of weights become one file with the
 * plain name. Errors of the file system pass through.
 */
export async function copyComponent(
  files: ComponentFiles,
  from: string,
  to: string,
  variant?: string | undefined,
): Promise<void> {
  if (files.kind === "tokenizer") return copyTokenizer(from, to);
  await mkdir(to, { recursive: true });
  await copyFile(join(from, files.config), join(to, files.config));
  if (files.kind === "model") await copyWeights(from, to, { variant, baseName: files.weights });
}

/** The files that a tokenizer is loaded from, here or in transformers. */
async function copyTokenizer(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from))
    if (/\.(?:json|txt)$/.test(name)) await copyFile(join(from, name), join(to, name));
}

async function copyWeights(from: string, to: string, options: Parameters<typeof resolveWeights>[1]): Promise<void> {
  const { files } = await resolveWeights(from, options);
  const target = join(to, `${options.baseName}.safetensors`);
  if (files.length === 1) return copyFile(files[0]!, target);
  const tensors: Record<string, Tensor> = Object.create(null);
  try {
    for (const file of files) Object.assign(tensors, await loadSafetensors(file));
    await saveSafetensors(target, tensors, { format: "pt" });
  } finally {
    disposeAll(...Object.values(tensors));
  }
}
