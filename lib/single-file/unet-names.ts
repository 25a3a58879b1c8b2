import { InstructPix2PixError } from "../core/errors.js";
import type { UNet2DConditionConfig } from "../models/unet_2d_condition.js";
import { type Module, type NameTable, renamed, replacingStart } from "./names.js";

const RESNET = {
  "in_layers.0": "norm1",
  "in_layers.2": "conv1",
  "emb_layers.1": "time_emb_proj",
  "out_layers.0": "norm2",
  "out_layers.3": "conv2",
  skip_connection: "conv_shortcut",
};

/** The layers of a residual block in the original code. */
export const RESNET_LAYERS: readonly string[] = Object.keys(RESNET);

const resnet = replacingStart(RESNET);

export type UNetStructure = Pick<
  UNet2DConditionConfig,
  "block_out_channels" | "layers_per_block" | "down_block_types" | "up_block_types" | "mid_block_type"
>;

/**
 * Names of a UNet. The original code numbers all layers of the way down in one row, a downsampling one after each
 * level, and those of the way up in another; inside a layer residual block, transformer and upsampling follow one
 * another.
 */
export function unetNames(config: UNetStructure): NameTable {
  const modules = unetModules(config);
  return (name) => {
    const target = renamed(modules, name);
    return target === undefined ? undefined : [{ name: target }];
  };
}

/** The modules by their names in the original code. @throws `ERR_CONFIG` for a UNet that it does not have */
export function unetModules(config: UNetStructure): ReadonlyMap<string, Module> {
  const modules = new Map<string, Module>([
    ["time_embed.0", { to: "time_embedding.linear_1" }],
    ["time_embed.2", { to: "time_embedding.linear_2" }],
    ["label_emb.0.0", { to: "add_embedding.linear_1" }],
    ["label_emb.0.2", { to: "add_embedding.linear_2" }],
    ["input_blocks.0.0", { to: "conv_in" }],
    ["out.0", { to: "conv_norm_out" }],
    ["out.2", { to: "conv_out" }],
    ["middle_block.0", { to: "mid_block.resnets.0", inner: resnet }],
    ["middle_block.1", { to: "mid_block.attentions.0" }],
    ["middle_block.2", { to: "mid_block.resnets.1", inner: resnet }],
  ]);
  if (config.mid_block_type !== "UNetMidBlock2DCrossAttn")
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `"mid_block_type" is ${JSON.stringify(config.mid_block_type)}, but UNets in single files have "UNetMidBlock2DCrossAttn"`,
    );
  const levels = config.block_out_channels.length;
  const counts = [config.layers_per_block].flat();
  const layers = config.block_out_channels.map((_, level) => counts[level] ?? counts[0]!);
  let block = 1;
  for (let level = 0; level < levels; level++) {
    const to = `down_blocks.${level}`;
    for (let layer = 0; layer < layers[level]!; layer++, block++) {
      modules.set(`input_blocks.${block}.0`, { to: `${to}.resnets.${layer}`, inner: resnet });
      if (config.down_block_types[level] === "CrossAttnDownBlock2D")
        modules.set(`input_blocks.${block}.1`, { to: `${to}.attentions.${layer}` });
    }
    if (level < levels - 1) modules.set(`input_blocks.${block++}.0.op`, { to: `${to}.downsamplers.0.conv` });
  }
  block = 0;
  for (let i = 0; i < levels; i++) {
    const to = `up_blocks.${i}`;
    const attends = config.up_block_types[i] === "CrossAttnUpBlock2D";
    const count = layers[levels - 1 - i]! + 1;
    for (let layer = 0; layer < count; layer++, block++) {
      modules.set(`output_blocks.${block}.0`, { to: `${to}.resnets.${layer}`, inner: resnet });
      if (attends) modules.set(`output_blocks.${block}.1`, { to: `${to}.attentions.${layer}` });
      if (layer === count - 1 && i < levels - 1)
        modules.set(`output_blocks.${block}.${attends ? 2 : 1}.conv`, { to: `${to}.upsamplers.0.conv` });
    }
  }
  return modules;
}
