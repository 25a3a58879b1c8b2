import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { checkTogether } from "./check.js";
import { type MemoryNeeds, type MemorySettings, totalOf } from "./memory-needs.js";
import type { TrainOptions } from "./options.js";

interface Saving {
  /** As a message names it. */
  name: string;
  change: Partial<MemorySettings>;
}

/** The savings in the order in which they cost time or quality. */
const SAVINGS: readonly Saving[] = [
  { name: "without shadowWeights", change: { shadowWeights: false } },
  { name: "cacheLatents", change: { cacheLatents: true } },
  { name: "gradientCheckpointing", change: { gradientCheckpointing: true } },
  { name: "use8bitAdam", change: { use8bitAdam: true } },
  { name: 'weightsDtype "bf16"', change: { weightsDtype: "bf16" } },
  { name: 'weightsRounding "stochastic"', change: { weightsRounding: "stochastic" } },
  { name: "releaseGradients", change: { releaseGradients: true } },
  { name: "without useEma", change: { useEma: false } },
  { name: "without postHocEma", change: { postHocEma: false } },
];

/** Parts of less than this are not worth naming. */
const NAMED = 0.05e9;

/**
 * Refuses a run that does not fit into memory.
 *
 * @param needs the memory with other settings
 * @throws `ERR_OUT_OF_MEMORY` naming the settings with which it would fit
 */
export function refuseOverflow(
  options: TrainOptions,
  needs: (settings: MemorySettings) => MemoryNeeds,
  available: number,
): void {
  const total = (settings: MemorySettings) => totalOf(needs(settings));
  if (total(options) <= available) return;
  const parts = Object.entries(needs(options))
    .filter(([, bytes]) => bytes! >= NAMED)
    .map(([name, bytes]) => `${name} ${gigabytes(bytes!)}`);
  const problem = `training needs about ${gigabytes(total(options))} GB of memory (${parts.join(", ")}), but ${gigabytes(available)} GB are free`;
  const possible = combinations(options);
  const enough = possible.find(({ settings }) => total(settings) <= available);
  const least = possible.reduce((best, other) => (total(other.settings) < total(best.settings) ? other : best));
  const remedy = enough
    ? `with ${listed(enough.names)} it needs ${gigabytes(total(enough.settings))} GB`
    : least.names.length > 0
      ? `even with ${listed(least.names)} it needs ${gigabytes(total(least.settings))} GB: a smaller resolution or trainBatchSize saves only activations`
      : "every setting that saves memory is on: a smaller resolution or trainBatchSize saves only activations";
  throw new InstructPix2PixError("ERR_OUT_OF_MEMORY", `${problem}; ${remedy}`);
}

/** Which savings that are not made yet can be made together: the fewest first, and among equally many those that cost least. */
function combinations(options: TrainOptions): { names: string[]; settings: TrainOptions }[] {
  const open = SAVINGS.filter(({ change }) =>
    Object.entries(change).some(([name, value]) => options[name as keyof MemorySettings] !== value),
  );
  return Array.from({ length: 2 ** open.length }, (_, bits) => open.filter((_, i) => bits & (1 << i)))
    .sort((a, b) => a.length - b.length)
    .map((savings) => ({
      names: savings.map(({ name }) => name),
      settings: Object.assign({}, options, ...savings.map(({ change }) => change)) as TrainOptions,
    }))
    .filter(({ settings }) => isAllowed(settings));
}

function isAllowed(options: TrainOptions): boolean {
  try {
    checkTogether(options);
    return true;
  } catch (error) {
    if (isInstructPix2PixError(error)) return false;
    throw error;
  }
}

function listed(names: readonly string[]): string {
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names.join();
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}
