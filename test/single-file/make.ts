import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../lib/files/safetensors.js";
import { fixture, readJson } from "../helpers/fixtures.js";

type Operation = "same" | "convolution" | "fused" | "transposed";
type Layout = Record<string, [component: string, operation: Operation, parameters: string[]]>;

/** The recorded layout of a tiny model: original name → where its values come from. */
export function recordedLayout(model: string): Layout {
  return readJson(fixture("single-file", `${model}.json`));
}

/** The weights of a tiny model under their original names. */
export async function originalTensors(model: string): Promise<Record<string, Tensor>> {
  const weights: Record<string, Record<string, Tensor>> = {};
  for (const component of ["unet", "vae", "text_encoder"]) {
    const folder = fixture(model, "model", component);
    const name = (await readdir(folder)).find((file) => file.endsWith(".safetensors"))!;
    weights[component] = await loadSafetensors(join(folder, name));
  }
  const result: Record<string, Tensor> = {};
  for (const [name, [component, operation, parameters]] of Object.entries(recordedLayout(model))) {
    const parts = parameters.map((parameter) => weights[component]![parameter]!);
    if (operation === "fused") result[name] = await Tensor.cat(parts, 0);
    else if (operation === "convolution")
      result[name] = await parts[0]!.reshape([...parts[0]!.shape.slice(0, 2), 1, 1]);
    else result[name] = parts[0]!;
  }
  return result;
}

/** Writes a tiny model as a single file, with changes. */
export async function writeSingleFile(
  path: string,
  model: string,
  change: (tensors: Record<string, Tensor>) => unknown = () => {},
): Promise<string> {
  const tensors = await originalTensors(model);
  await change(tensors);
  await saveSafetensors(path, tensors);
  return path;
}
