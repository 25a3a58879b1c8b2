import type { AutoencoderKLConfig } from "../models/autoencoder_kl.js";
import { scaleFactorOf } from "../models/autoencoder-config.js";
import type { UNet2DConditionConfig } from "../models/unet_2d_condition.js";

// What a run takes, from configurations and sizes alone: the memory of the largest features that are held together, and the
// multiplications of a step. Attention never holds its scores, so memory grows with the pixels.

interface Size {
  height: number;
  width: number;
}

/** Numbers that the encoder or the decoder holds for each pixel of an image, at the level where they are most. */
function autoencoderWidth({ block_out_channels: channels }: Pick<AutoencoderKLConfig, "block_out_channels">): number {
  const widths = channels.map((own, level) => {
    const before = channels[Math.max(0, level - 1)]!; // the encoder's input at this level
    const after = channels[Math.min(channels.length - 1, level + 1)]!; // the decoder's
    return Math.max(residual(before, own), residual(after, own)) / 4 ** level;
  });
  return Math.max(...widths);
}

/** Numbers that a residual block holds for each position: its input, normalised or kept for the sum, and its features. */
function residual(input: number, output: number): number {
  return Math.max(2 * input + output, input + 3 * output);
}

/**
 * Bytes of features that an autoencoder holds at once.
 *
 * @param rows images that are encoded or decoded together
 */
export function autoencoderMemory(
  config: Pick<AutoencoderKLConfig, "block_out_channels">,
  { height, width }: Size,
  { rows, bytes }: { rows: number; bytes: number },
): number {
  return autoencoderWidth(config) * height * width * rows * bytes;
}

/** The levels of a UNet, from the finest. */
function levelsOf(config: UNet2DConditionConfig) {
  const { block_out_channels: channels, down_block_types: types } = config;
  const of = <T>(value: T | readonly T[], level: number): T => (Array.isArray(value) ? value[level] : value) as T;
  return channels.map((width, level) => {
    const layers = of<number>(config.layers_per_block, level);
    const depth = of<number | number[]>(config.transformer_layers_per_block, level);
    const attends = types[level]!.includes("CrossAttn");
    return { width, layers, depth: attends ? Math.max(...[depth].flat()) : 0 };
  });
}

/**
 * Bytes of features that a UNet holds at once: those kept for the way up, and those of the widest block.
 *
 * @param latents size of the latents
 * @param rows of the batch, guidance included
 */
export function unetMemory(
  config: UNet2DConditionConfig,
  latents: Size,
  { rows, bytes }: { rows: number; bytes: number },
): number {
  const levels = levelsOf(config);
  let kept = levels[0]!.width;
  let widest = 0;
  for (const [level, { width, layers, depth }] of levels.entries()) {
    const below = levels[Math.min(levels.length - 1, level + 1)]!.width;
    const last = level === levels.length - 1;
    kept += (layers * width) / 4 ** level + (last ? 0 : width / 4 ** (level + 1));
    // On the way up a block takes what comes from below and what was kept, side by side; a transformer widens fourfold.
    widest = Math.max(widest, Math.max(2 * (below + width) + 2 * width, depth > 0 ? 6 * width : 0) / 4 ** level);
  }
  return (kept + widest) * latents.height * latents.width * rows * bytes;
}

/** Multiplications of one row of a UNet's step, without those of the timestep and of the text. */
export function unetWork(config: UNet2DConditionConfig, latents: Size): number {
  const levels = levelsOf(config);
  let work = 0;
  for (const [level, { width, layers, depth }] of levels.entries()) {
    const positions = (latents.height * latents.width) / 4 ** level;
    const below = levels[Math.min(levels.length - 1, level + 1)]!.width;
    const convolutions = 9 * width * (layers * 2 * width + (layers + 1) * (width + below + width));
    // Projections of self and cross attention, the fourfold widening, and the products of queries, keys and values.
    const transformer = depth * (8 * width ** 2 + 12 * width ** 2 + 2 * positions * width);
    work += positions * (convolutions + (2 * layers + 1) * transformer);
  }
  return work;
}

/** Pixels along both edges as latents. */
export function latentsOf({ height, width }: Size, vae: Pick<AutoencoderKLConfig, "block_out_channels">): Size {
  const factor = scaleFactorOf(vae);
  return { height: Math.ceil(height / factor), width: Math.ceil(width / factor) };
}
