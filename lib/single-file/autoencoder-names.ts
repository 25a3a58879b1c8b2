import type { AutoencoderKLConfig } from "../models/autoencoder_kl.js";
import type { Shape } from "./file.js";
import { type Module, type NameTable, renamed, replacingStart } from "./names.js";

const resnet = replacingStart({ nin_shortcut: "conv_shortcut" });
const attention = replacingStart({ norm: "group_norm", q: "to_q", k: "to_k", v: "to_v", proj_out: "to_out.0" });

/** Names of an autoencoder. The decoder numbers its levels from the highest resolution, diffusers from the lowest. */
export function autoencoderNames({ block_out_channels, layers_per_block }: AutoencoderStructure): NameTable {
  const levels = block_out_channels.length;
  const modules = new Map<string, Module>([
    ["quant_conv", { to: "quant_conv" }],
    ["post_quant_conv", { to: "post_quant_conv" }],
  ]);
  for (const half of ["encoder", "decoder"]) {
    modules.set(`${half}.conv_in`, { to: `${half}.conv_in` });
    modules.set(`${half}.norm_out`, { to: `${half}.conv_norm_out` });
    modules.set(`${half}.conv_out`, { to: `${half}.conv_out` });
    modules.set(`${half}.mid.block_1`, { to: `${half}.mid_block.resnets.0`, inner: resnet });
    modules.set(`${half}.mid.attn_1`, { to: `${half}.mid_block.attentions.0`, inner: attention });
    modules.set(`${half}.mid.block_2`, { to: `${half}.mid_block.resnets.1`, inner: resnet });
  }
  for (let level = 0; level < levels; level++) {
    const down = `encoder.down_blocks.${level}`;
    const up = `decoder.up_blocks.${levels - 1 - level}`;
    for (let i = 0; i < layers_per_block; i++)
      modules.set(`encoder.down.${level}.block.${i}`, { to: `${down}.resnets.${i}`, inner: resnet });
    for (let i = 0; i <= layers_per_block; i++)
      modules.set(`decoder.up.${level}.block.${i}`, { to: `${up}.resnets.${i}`, inner: resnet });
    modules.set(`encoder.down.${level}.downsample.conv`, { to: `${down}.downsamplers.0.conv` });
    modules.set(`decoder.up.${level}.upsample.conv`, { to: `${up}.upsamplers.0.conv` });
  }
  return (name, shape) => {
    const target = renamed(modules, name);
    if (target === undefined) return undefined;
    return [{ name: target, shape: name.includes(".attn_1.") ? withoutPixels(shape) : shape }];
  };
}

export type AutoencoderStructure = Pick<AutoencoderKLConfig, "block_out_channels" | "layers_per_block">;

/** The attention's projections are convolutions of one pixel in the file, [C,C,1,1], and matrices in diffusers. */
function withoutPixels(shape: Shape): Shape {
  return shape.length > 2 && shape.slice(2).every((size) => size === 1) ? shape.slice(0, 2) : shape;
}
