import type { JsonObject } from "../models/schema.js";
import type { SingleFile } from "./file.js";
import type { Family } from "./layout.js";
import { ShapeReader } from "./shapes.js";

/** Groups of every normalisation. */
const GROUPS = 32;

/** What does not show in the tensors. */
const TRAINED: Readonly<Record<Family, JsonObject>> = {
  sd1: { sample_size: 512, scaling_factor: 0.18215 },
  sd2: { sample_size: 768, scaling_factor: 0.18215 },
  sdxl: { sample_size: 1024, scaling_factor: 0.13025, force_upcast: true },
  "sdxl-refiner": { sample_size: 1024, scaling_factor: 0.13025, force_upcast: true },
  autoencoder: { sample_size: 512, scaling_factor: 0.18215 },
};

/** An autoencoder's `config.json`, inferred from the names and shapes of its tensors. */
export function inferAutoencoderConfig(file: SingleFile): JsonObject {
  const read = new ShapeReader(file, "vae");
  const levels = read.count(/^encoder\.down\.(\d{1,9})\.block\./);
  const layers = read.count(/^encoder\.down\.0\.block\.(\d{1,9})\./);
  const channels = Array.from({ length: levels }, (_, level) =>
    read.size(`encoder.down.${level}.block.0.conv1.weight`, 0),
  );
  if (levels === 0 || channels.some((count) => count % GROUPS !== 0))
    throw read.problem(`the levels of its autoencoder have ${channels.join(", ") || "no"} channels`);
  return {
    ...TRAINED[file.family],
    in_channels: read.size("encoder.conv_in.weight", 1),
    out_channels: read.size("decoder.conv_out.weight", 0),
    latent_channels: read.size("decoder.conv_in.weight", 1),
    block_out_channels: channels,
    layers_per_block: layers,
    down_block_types: channels.map(() => "DownEncoderBlock2D"),
    up_block_types: channels.map(() => "UpDecoderBlock2D"),
    ...(read.has("quant_conv.weight") ? {} : { use_quant_conv: false }),
    ...(read.has("post_quant_conv.weight") ? {} : { use_post_quant_conv: false }),
    ...(read.has("encoder.mid.attn_1.norm.weight") ? {} : { mid_block_add_attention: false }),
  };
}
