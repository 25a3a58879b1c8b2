import { registeredClass } from "../../../components/registry.js";
import { copiedComponent } from "../../../components/save.js";
import { resolvePretrained } from "../../../hub/index.js";
import { AutoencoderKL } from "../../../models/autoencoder_kl.js";
import { readModelConfig } from "../../../models/pretrained.js";
import type { BaseLocation, BaseSource } from "../base-source.js";
import { contentsOf } from "../folder-source.js";
import type { XLBaseComponents } from "./base.js";

/**
 * A base model with another autoencoder, of a folder or a repository that holds nothing else.
 *
 * @throws as `resolvePretrained`; `ERR_CONFIG`
 */
export async function withAutoencoder(
  source: BaseSource<XLBaseComponents>,
  pathOrId: string,
  { variant, cacheDir, hubToken: token, signal }: BaseLocation,
): Promise<BaseSource<XLBaseComponents>> {
  const folder = await resolvePretrained(pathOrId, { variant, cacheDir, token, signal });
  const { config: vae } = await readModelConfig(AutoencoderKL.description, folder); // before weights are read
  const { ready, schedulerPath } = source;
  return {
    ready,
    configs: { ...source.configs, vae },
    schedulerPath,
    load: async (component, options) =>
      component === "vae"
        ? ((await AutoencoderKL.fromPretrained(folder, { ...options, variant })) as never)
        : await source.load(component, options),
    loadUNet: (channels, options) => source.loadUNet(channels, options),
    kept: (component) =>
      component === "vae" ? copiedComponent(registeredClass("AutoencoderKL"), folder, variant) : source.kept(component),
    contents: async (components) => [
      ...(await source.contents(components.filter((component) => component !== "vae"))),
      ...(components.includes("vae") ? await contentsOf(folder, "vae") : []),
    ],
  };
}
