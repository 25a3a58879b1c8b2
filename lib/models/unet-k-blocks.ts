import { unsupported } from "./schema.js";

/** The keys of a UNet's configuration that its K blocks depend on. */
interface KBlockKeys {
  down_block_types: readonly string[];
  up_block_types: readonly string[];
  block_out_channels: readonly number[];
  norm_num_groups: number | null;
  time_embedding_type: string;
  time_embedding_dim: number | null;
}

/** Whether a type of block is one of k-diffusion's, of which the ×2 latent upscaler is made. */
const isKBlock = (type: string) => /^K[A-Z]/.test(type);

/** Channels of each group of a K block's norms. */
const GROUP_SIZE = 32;

/**
 * Refuses what K blocks cannot be combined with. How the widths of the levels fit together is checked where they are built
 * (native/models/blocks/k_up_block_2d.cc).
 *
 * @throws `ERR_CONFIG`
 */
export function checkKBlocks(config: KBlockKeys, where: string): void {
  const { down_block_types: down, up_block_types: up, norm_num_groups: groups } = config;
  const kinds = new Set([...down, ...up].map(isKBlock));
  if (kinds.size > 1)
    throw unsupported(
      where,
      "up_block_types",
      up,
      "blocks that begin with K only, as down_block_types, or none of these",
    );
  if (groups === null && kinds.has(false))
    throw unsupported(where, "norm_num_groups", null, "a number, which only blocks that begin with K do without");
  const narrow = config.block_out_channels.find((channels) => channels < GROUP_SIZE);
  if (kinds.has(true) && narrow !== undefined)
    throw unsupported(
      where,
      "block_out_channels",
      config.block_out_channels,
      `at least ${GROUP_SIZE} channels in K blocks`,
    );
  const { time_embedding_type: type, time_embedding_dim: width } = config;
  if (type === "fourier" && width !== null && width % 2 !== 0)
    throw unsupported(where, "time_embedding_dim", width, 'an even number, since time_embedding_type is "fourier"');
}

/**
 * What heights and widths of a sample a UNet takes: multiples of `multiple`, at least `least`. UNets without K blocks take
 * any.
 */
export function sampleEdges(config: Pick<KBlockKeys, "down_block_types">): { multiple: number; least: number } {
  const { down_block_types: down } = config;
  if (!down.some(isKBlock)) return { multiple: 1, least: 1 };
  const multiple = 2 ** (down.length - 1);
  // The lowest level is reflected at its borders.
  return { multiple, least: down.length > 1 ? 2 * multiple : 1 };
}
