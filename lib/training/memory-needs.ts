import type { TrainOptions } from "./options.js";
import { KEPT_WIDTHS } from "./post-hoc-ema/power-function.js";

/** The options that decide how much memory training needs. */
export type MemorySettings = Pick<
  TrainOptions,
  | "weightsDtype"
  | "weightsRounding"
  | "use8bitAdam"
  | "optimizer"
  | "useEma"
  | "postHocEma"
  | "shadowWeights"
  | "mixedPrecision"
  | "gradientCheckpointing"
  | "releaseGradients"
  | "cacheLatents"
>;

/** Numbers of weights. */
export interface WeightCounts {
  /** The parameters of linear and convolutional layers. */
  products: number;
  /** All others, which are always float32 when they are trained. */
  others: number;
}

/** What memory depends on besides the settings, in bytes where nothing else is said. */
export interface RunSizes {
  trained: WeightCounts;
  frozen: number;
  /** Kept for the backward pass in float32, with and without checkpointing. */
  activations: { kept: number; checkpointed: number };
  /** Features of the autoencoder while it encodes a batch. */
  encoding: number;
}

/** Bytes by what they are for. */
export type MemoryNeeds = Readonly<Partial<Record<string, number>>>;

/** One scale per moment and this many weights. */
const BLOCK_8BIT = 256;

/** The memory at the moment of a run at which most is held. */
export function memoryNeeds(sizes: RunSizes, settings: MemorySettings): MemoryNeeds {
  const { products, others } = sizes.trained;
  const { frozen, encoding } = sizes;
  const narrow = settings.weightsDtype === "bf16";
  const half = settings.mixedPrecision !== "no";
  const weight = narrow ? 2 : 4;
  const shadow = settings.shadowWeights && half && !narrow ? 2 : 0;
  const optimizer = {
    weights: products * (weight + shadow) + others * 4,
    remainders: narrow && settings.weightsRounding === "compensated" ? products * 2 : 0,
    moments: products * bytesOfMoments(settings) + others * 8,
    "EMA weights": settings.useEma ? (products + others) * 4 : 0,
    "averages for later": settings.postHocEma ? (products + others) * 4 * KEPT_WIDTHS.length : 0,
  };
  // Of released ones there is one at a time, which is little. Copies of weights in half precision, which the backward pass
  // needs, are otherwise freed as fast as gradients come.
  const released = settings.releaseGradients;
  const copied = released && half && !narrow && shadow === 0 && !settings.gradientCheckpointing;
  const backward = {
    gradients: released ? 0 : products * weight + others * 4,
    "copies of weights": copied ? products * 2 : 0,
  };
  const kept = settings.gradientCheckpointing ? sizes.activations.checkpointed : sizes.activations.kept;
  const activations = kept / (half ? 2 : 1);
  // Loading takes less, since float32 weights are converted before there are moments. Gradients stay while further
  // micro-batches are encoded.
  const moments: MemoryNeeds[] = settings.cacheLatents
    ? [
        { ...optimizer, "frozen models": frozen, activations: encoding },
        { ...optimizer, ...backward, activations },
      ]
    : [{ ...optimizer, ...backward, "frozen models": frozen, activations: Math.max(activations, encoding) }];
  return moments.reduce((most, other) => (totalOf(other) > totalOf(most) ? other : most));
}

/** For each weight of a product. */
function bytesOfMoments({ use8bitAdam, optimizer }: MemorySettings): number {
  const quantized = 1 + 4 / BLOCK_8BIT;
  if (use8bitAdam) return 2 * quantized;
  return { adamw: 8, lion_8bit: quantized, prodigy: 16 }[optimizer];
}

/** The bytes together. */
export function totalOf(needs: MemoryNeeds): number {
  return Object.values(needs).reduce<number>((sum, bytes) => sum + bytes!, 0);
}
