/** What matters of a UNet's configuration, with one entry for each level, and one for each resnet of a level. */
export interface UNetLevels {
  block_out_channels: readonly number[];
  down_block_types: readonly string[];
  up_block_types: readonly string[];
  layers_per_block: readonly number[];
  transformer_layers_per_block: readonly (readonly number[])[];
  reverse_transformer_layers_per_block: readonly (readonly number[])[];
  cross_attention_dim: readonly number[];
}

/** Tensors of a transformer block that its backward pass needs, in rows of the block's width. */
const TENSORS_PER_BLOCK = 24;
const TEXT_TOKENS = 77;

/**
 * Estimates what a UNet keeps for the backward pass, in bytes of float32: everything, or with gradient checkpointing the
 * inputs of its segments and everything of the largest one.
 *
 * @param rows of a batch
 * @param edge of the latents
 */
export function unetActivations(unet: UNetLevels, rows: number, edge: number): { kept: number; checkpointed: number } {
  const segments: { input: number; inside: number }[] = [];
  const levels = unet.block_out_channels.length;
  const pixels = (level: number) => rows * (edge / 2 ** level) ** 2;

  const resnet = (level: number, from: number, to: number) =>
    segments.push({ input: from * pixels(level), inside: (from + 3 * to) * pixels(level) });
  const transformer = (level: number, type: string, layers: number) => {
    if (!type.includes("CrossAttn")) return;
    const map = unet.block_out_channels[level]! * pixels(level);
    const text = 2 * unet.block_out_channels[level]! * TEXT_TOKENS * rows;
    segments.push({ input: map, inside: 3 * map + layers * (TENSORS_PER_BLOCK * map + text) });
  };

  let channels = unet.block_out_channels[0]!;
  const skips = [channels];
  for (const [level, to] of unet.block_out_channels.entries()) {
    for (let i = 0; i < unet.layers_per_block[level]!; i++) {
      resnet(level, channels, to);
      channels = to;
      transformer(level, unet.down_block_types[level]!, unet.transformer_layers_per_block[level]![i]!);
      skips.push(channels);
    }
    if (level + 1 < levels) skips.push(channels);
  }
  resnet(levels - 1, channels, channels);
  transformer(levels - 1, "CrossAttn", unet.transformer_layers_per_block.at(-1)!.at(-1)!);
  resnet(levels - 1, channels, channels);
  for (let up = 0; up < levels; up++) {
    const level = levels - 1 - up;
    const to = unet.block_out_channels[level]!;
    for (let i = 0; i <= unet.layers_per_block[level]!; i++) {
      resnet(level, channels + (skips.pop() ?? 0), to);
      channels = to;
      transformer(level, unet.up_block_types[up]!, unet.reverse_transformer_layers_per_block[up]![i]!);
    }
  }
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const inputs = sum(segments.map(({ input }) => input));
  const inside = segments.map((segment) => segment.inside);
  return { kept: 4 * (inputs + sum(inside)), checkpointed: 4 * (inputs + Math.max(...inside)) };
}
