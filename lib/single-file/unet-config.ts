import { type JsonObject, LIMITS } from "../models/schema.js";
import { sizeNumbers } from "../pipelines/compatibility.js";
import type { SingleFile } from "./file.js";
import type { Family } from "./layout.js";
import { ShapeReader } from "./shapes.js";

/** Channels of a head in UNets with linear projections: Stable Diffusion 2 and XL. */
const HEAD_WIDTH = 64;
/** Heads in every layer of other UNets: Stable Diffusion 1. */
const HEADS = 8;
/** Features of each number that describes a size, in the published models of Stable Diffusion XL. */
const PUBLISHED_SIZE_WIDTH = 256;
/** Groups of every normalisation. */
const GROUPS = 32;

/** Edge of the latents that the models of a family were trained for. */
function sampleSize(family: Family, inChannels: number): number {
  if (family === "sdxl" || family === "sdxl-refiner") return 128;
  return family === "sd2" && inChannels === 4 ? 96 : 64;
}

/** One resolution of a UNet. */
interface Level {
  channels: number;
  layers: number;
  /** Transformer layers in each attention block; undefined without attention. */
  depth: number | undefined;
}

/** A UNet's `config.json`, inferred from the names and shapes of its tensors. */
export function inferUNetConfig(file: SingleFile): JsonObject {
  const read = new ShapeReader(file, "unet");
  const levels = levelsOf(read);
  const middle = depthOf(read, "middle_block.1");
  const channels = levels.map((level) => level.channels);
  const attention = firstAttention(read);
  const linear = read.shape(`${attention}.proj_in.weight`).length === 2;
  if (channels.some((count) => count % GROUPS !== 0 || count % (linear ? HEAD_WIDTH : HEADS) !== 0))
    throw read.problem(`its levels have ${channels.join(", ")} channels`);
  const inChannels = read.size("input_blocks.0.0.weight", 1);
  const xl = read.has("label_emb.0.0.weight");
  const timeWidth = read.size("time_embed.0.weight", 0);
  return {
    sample_size: sampleSize(file.family, inChannels),
    in_channels: inChannels,
    out_channels: read.size("out.2.weight", 0),
    block_out_channels: channels,
    layers_per_block: oneOrMany(levels.map(({ layers }) => layers)),
    down_block_types: levels.map(({ depth }) => (depth ? "CrossAttnDownBlock2D" : "DownBlock2D")),
    up_block_types: levels.map(({ depth }) => (depth ? "CrossAttnUpBlock2D" : "UpBlock2D")).reverse(),
    transformer_layers_per_block: depths(levels, middle),
    cross_attention_dim: read.size(`${attention}.transformer_blocks.0.attn2.to_k.weight`, 1),
    attention_head_dim: linear ? channels.map((count) => count / HEAD_WIDTH) : HEADS,
    use_linear_projection: linear,
    ...(timeWidth === 4 * channels[0]! ? {} : { time_embedding_dim: timeWidth }),
    ...(file.family === "sd2" && inChannels === 4 ? { upcast_attention: true } : {}),
    ...(xl
      ? {
          addition_embed_type: "text_time",
          addition_time_embed_dim: sizeWidth(file, read.size("label_emb.0.0.weight", 1)),
          projection_class_embeddings_input_dim: read.size("label_emb.0.0.weight", 1),
        }
      : {}),
    ...(read.has("label_emb.weight") ? { num_class_embeds: read.size("label_emb.weight", 0) } : {}),
  };
}

/** Features of each number that describes a size, of all that the UNet takes beside pooled text. */
function sizeWidth(file: SingleFile, features: number): number {
  const pooled = file.components.get("text_encoder_2")?.shapes.get("text_projection")?.[1];
  const width = pooled === undefined ? 0 : (features - pooled) / sizeNumbers(file.family === "sdxl-refiner");
  return Number.isInteger(width) && width > 0 ? width : PUBLISHED_SIZE_WIDTH;
}

function levelsOf(read: ShapeReader): Level[] {
  const blocks = read.count(/^input_blocks\.(\d{1,9})\.0\./);
  const levels: Level[] = [];
  let level: Level | undefined;
  for (let block = 1; block < blocks; block++) {
    if (read.has(`input_blocks.${block}.0.op.weight`)) {
      level = undefined;
      continue;
    }
    if (!level) {
      level = { channels: 0, layers: 0, depth: depthOf(read, `input_blocks.${block}.1`) };
      levels.push(level);
      if (levels.length > LIMITS.levels) throw read.problem("its UNet has more levels than any published one");
    }
    level.channels = read.size(`input_blocks.${block}.0.out_layers.3.weight`, 0);
    level.layers++;
  }
  if (levels.length === 0) throw read.problem("its UNet has no layers");
  return levels;
}

/** Transformer layers of an attention block; undefined if there is no such block. */
function depthOf(read: ShapeReader, block: string): number | undefined {
  return read.count(new RegExp(`^${block.replaceAll(".", "\\.")}\\.transformer_blocks\\.(\\d{1,9})\\.`)) || undefined;
}

function firstAttention(read: ShapeReader): string {
  for (const name of read.names) {
    const block = /^((?:input_blocks\.\d{1,9}|middle_block)\.1)\.proj_in\.weight$/.exec(name)?.[1];
    if (block !== undefined) return block;
  }
  throw read.problem("its UNet has no cross-attention");
}

/** One number if all attention blocks agree, else one for each level; the middle has that of the last level. */
function depths(levels: readonly Level[], middle: number | undefined): number | number[] {
  const used = [...levels.map(({ depth }) => depth), middle].filter((depth) => depth !== undefined);
  if (new Set(used).size === 1) return used[0]!;
  return levels.map(({ depth }, i) => depth ?? (i === levels.length - 1 ? (middle ?? 1) : 1));
}

function oneOrMany(values: readonly number[]): number | number[] {
  return new Set(values).size === 1 ? values[0]! : [...values];
}
