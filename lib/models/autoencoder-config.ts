import { boolean, type Field, integer, integers, LIMITS, listOfOne, number, oneOf, unsupported } from "./schema.js";

/** An edge, or [height, width]. */
const size: Field<number | number[]> = {
  default: 32,
  expected: `an integer in 1..${LIMITS.positions} or a pair of them`,
  parse: (value) => integer(32, LIMITS.positions).parse(value) ?? integers([32], LIMITS.positions).parse(value),
};

/** The keys that all autoencoders' config.json have. */
export const AUTOENCODER_SCHEMA = {
  in_channels: integer(3, LIMITS.channels),
  out_channels: integer(3, LIMITS.channels),
  down_block_types: listOfOne(["DownEncoderBlock2D"], ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]),
  up_block_types: listOfOne(["UpDecoderBlock2D"], ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]),
  block_out_channels: integers([64], LIMITS.channels),
  layers_per_block: integer(1, LIMITS.layers),
  act_fn: oneOf("silu", ["silu", "swish", "mish", "gelu", "relu"]),
  norm_num_groups: integer(32, LIMITS.channels),
  sample_size: size,
  scaling_factor: number(0.18215),
  mid_block_add_attention: boolean(true),
};

/** What an autoencoder's levels follow from. */
interface Levels {
  readonly block_out_channels: readonly number[];
  readonly down_block_types: readonly string[];
  readonly up_block_types: readonly string[];
}

/** @throws `ERR_CONFIG` unless each level has its types of blocks */
export function checkLevels(config: Levels, where: string): void {
  const levels = config.block_out_channels.length;
  for (const key of ["down_block_types", "up_block_types"] as const)
    if (config[key].length !== levels)
      throw unsupported(where, key, config[key], `${levels} entries, one for each of block_out_channels`);
}

/** Pixels per latent along an edge of an autoencoder with this configuration. */
export function scaleFactorOf({ block_out_channels: levels }: Pick<Levels, "block_out_channels">): number {
  return 2 ** (levels.length - 1);
}
