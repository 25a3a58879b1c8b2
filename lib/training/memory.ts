import { InstructPix2PixError } from "../core/errors.js";

/** Numbers of trained weights. */
export interface TrainedWeights {
  /** Of linear and convolutional layers. */
  products: number;
  /** All others, which are always float32. */
  others: number;
}

/** The options that decide how much memory training needs. */
export interface MemorySettings {
  weightsDtype: "fp32" | "bf16";
  weightsRounding: "stochastic" | "compensated";
  use8bitAdam: boolean;
  useEma: boolean;
  shadowWeights: boolean;
  mixedPrecision: "no" | "fp16" | "bf16";
  gradientCheckpointing: boolean;
}

/** Bytes by what they are for. */
export type MemoryNeeds = Readonly<
  Record<"weights" | "remainders" | "gradients" | "moments" | "EMA weights" | "activations" | "frozen models", number>
>;

/** One scale per moment and this many weights. */
const BLOCK_8BIT = 256;

/**
 * The memory of a training run on the CPU, which is the most that is held at once: at the end of the backward pass.
 *
 * @param activations bytes kept for the backward pass in float32, with and without checkpointing
 * @param frozen bytes of models that are loaded beside the trained ones
 */
export function memoryNeeds(
  { products, others }: TrainedWeights,
  settings: MemorySettings,
  activations: { kept: number; checkpointed: number },
  frozen: number,
): MemoryNeeds {
  const narrow = settings.weightsDtype === "bf16";
  const half = settings.mixedPrecision !== "no";
  const weight = narrow ? 2 : 4;
  const shadow = settings.shadowWeights && half && !narrow ? 2 : 0;
  return {
    weights: products * (weight + shadow) + others * 4,
    remainders: narrow && settings.weightsRounding === "compensated" ? products * 2 : 0,
    gradients: products * weight + others * 4,
    moments: products * 2 * (settings.use8bitAdam ? 1 + 4 / BLOCK_8BIT : 4) + others * 8,
    "EMA weights": settings.useEma ? (products + others) * 4 : 0,
    activations: (settings.gradientCheckpointing ? activations.checkpointed : activations.kept) / (half ? 2 : 1),
    "frozen models": frozen,
  };
}

/** In the order in which they cost time or quality. */
const SAVINGS: readonly { flags: string; change: Partial<MemorySettings> }[] = [
  { flags: "no --shadow_weights", change: { shadowWeights: false } },
  { flags: "--gradient_checkpointing", change: { gradientCheckpointing: true } },
  { flags: "--use_8bit_adam", change: { use8bitAdam: true } },
  { flags: "--weights_dtype bf16", change: { weightsDtype: "bf16" } },
  { flags: "--weights_rounding stochastic", change: { weightsRounding: "stochastic" } },
  { flags: "no --use_ema", change: { useEma: false } },
];

/**
 * Refuses a run that does not fit into memory, before the system would end it.
 *
 * @param needs the memory with other settings
 * @throws `ERR_OUT_OF_MEMORY` naming the settings with which it would fit
 */
export function checkMemory(
  settings: MemorySettings,
  needs: (settings: MemorySettings) => MemoryNeeds,
  available: number,
): void {
  const total = (of: MemorySettings) => Object.values(needs(of)).reduce((sum, bytes) => sum + bytes, 0);
  if (total(settings) <= available) return;
  const parts = Object.entries(needs(settings))
    .filter(([, bytes]) => bytes >= 0.05 * GIB)
    .map(([name, bytes]) => `${name} ${gib(bytes)}`);
  const problem = `training would need about ${gib(total(settings))} GiB of memory (${parts.join(", ")}), and ${gib(available)} GiB are free`;
  const chosen = fewestSavings(settings, (changed) => total(changed) <= available);
  const least = Object.assign({}, settings, ...SAVINGS.map(({ change }) => change)) as MemorySettings;
  throw new InstructPix2PixError(
    "ERR_OUT_OF_MEMORY",
    chosen
      ? `${problem}; with ${chosen.flags.join(" ")} it would be ${gib(total(chosen.settings))} GiB`
      : `${problem}; with every saving (${changes(settings)
          .map(({ flags }) => flags)
          .join(
            " ",
          )}) it would still be ${gib(total(least))} GiB: a smaller --resolution or --train_batch_size saves activations only`,
  );
}

const GIB = 2 ** 30;

function gib(bytes: number): string {
  return (bytes / GIB).toFixed(1);
}

/** The savings that are not made yet. */
function changes(settings: MemorySettings) {
  return SAVINGS.filter(({ change }) =>
    Object.entries(change).some(([name, value]) => settings[name as keyof MemorySettings] !== value),
  );
}

/** The fewest further savings that suffice, and among equally many those that come first. */
function fewestSavings(
  settings: MemorySettings,
  suffices: (settings: MemorySettings) => boolean,
): { flags: string[]; settings: MemorySettings } | undefined {
  const possible = changes(settings);
  const subsets = Array.from({ length: 2 ** possible.length }, (_, bits) =>
    possible.filter((_, i) => bits & (1 << i)),
  ).sort((a, b) => a.length - b.length);
  for (const subset of subsets) {
    const changed = Object.assign({}, settings, ...subset.map(({ change }) => change)) as MemorySettings;
    if (suffices(changed)) return { flags: subset.map(({ flags }) => flags), settings: changed };
  }
  return undefined;
}
