import { cp, readdir, writeFile } from "node:fs/promises";
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

/** As {@link writeSingleFile}, with other input channels of the UNet: the model's first ones, and zeros. */
export function writeWithChannels(
  path: string,
  model: string,
  channels: number,
  change: (tensors: Record<string, Tensor>) => unknown = () => {},
): Promise<string> {
  return writeSingleFile(path, model, async (tensors) => {
    const name = "model.diffusion_model.input_blocks.0.0.weight";
    tensors[name] = await resized(tensors[name]!, channels);
    await change(tensors);
  });
}

/** The folder of a tiny model, with other input channels of the UNet, as in {@link writeWithChannels}. */
export async function copyWithChannels(folder: string, model: string, channels: number): Promise<string> {
  await cp(fixture(model, "model"), folder, { recursive: true });
  const config = join(folder, "unet", "config.json");
  await writeFile(config, JSON.stringify({ ...readJson<object>(config), in_channels: channels }));
  const weights = join(folder, "unet", "diffusion_pytorch_model.safetensors");
  const tensors = await loadSafetensors(weights);
  tensors["conv_in.weight"] = await resized(tensors["conv_in.weight"]!, channels);
  await saveSafetensors(weights, tensors);
  return folder;
}

async function resized(weight: Tensor, channels: number): Promise<Tensor> {
  const [out, count, ...kernel] = weight.shape as [number, number, ...number[]];
  if (channels <= count) return weight.slice(1, 0, channels);
  return Tensor.cat([weight, await Tensor.zeros([out, channels - count, ...kernel])], 1);
}
