import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Tensor } from "../core/tensor.js";
import { toJson } from "../files/json.js";
import { saveSafetensors } from "../files/safetensors.js";
import { MODEL_CONFIG, type ModelFormat, weightsFile } from "./format.js";

/** Version of diffusers whose file formats are written. */
export const DIFFUSERS_VERSION = "0.40.0";

/** Writes a model folder as diffusers or transformers read it. Errors of the file system pass through. */
export async function writeModel(
  folder: string,
  format: ModelFormat,
  config: object,
  weights: Record<string, Tensor>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const named =
    format.library === "transformers"
      ? { ...config, architectures: [format.kind], model_type: format.modelType }
      : { _class_name: format.kind, ...config, _diffusers_version: DIFFUSERS_VERSION };
  await writeFile(join(folder, MODEL_CONFIG), `${toJson(named, 2, format.floats)}\n`);
  await saveSafetensors(join(folder, weightsFile(format)), namedAsInFiles(format, weights), { format: "pt" });
}

/** Weights by their names in files. */
export function namedAsInFiles(
  { prefix = "", unprefixed }: Pick<ModelFormat, "prefix" | "unprefixed">,
  weights: Record<string, Tensor>,
): Record<string, Tensor> {
  const named = (name: string) => (unprefixed !== undefined && name.startsWith(unprefixed) ? name : prefix + name);
  return Object.fromEntries(Object.entries(weights).map(([name, tensor]) => [named(name), tensor]));
}
