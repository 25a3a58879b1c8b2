import { checkList, describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { quote } from "../core/quote.js";
import type { AdapterWeights } from "../models/adapter-weights.js";
import type { AdaptedModel } from "./adapted-model.js";
import type { LoraComponent } from "./names.js";
import { checkWeight, type LoraWeights } from "./weights.js";

/** A LoRA of one run. */
export interface RunLora {
  /** The adapter's name, as `loadLoraWeights` returns it. */
  name: string;
  /** How much it counts: in all models alike, or in each. Default 1. */
  weight?: number | Omit<LoraWeights, "blocks"> | undefined;
}

/** The adapters that count in a run, by the models that they change. */
export type RunLoras = Partial<Record<LoraComponent, readonly AdapterWeights[]>>;

const NAMES = optionNames<RunLora>()({ name: true, weight: true });

/**
 * Checks the option `loras` of a run.
 *
 * @throws `ERR_INVALID_ARGUMENT` for adapters that are unknown, active, or named twice, and for weights of blocks
 */
export function checkRunLoras(
  given: readonly RunLora[] | undefined,
  models: ReadonlyMap<LoraComponent, AdaptedModel>,
): RunLoras {
  if (given === undefined) return {};
  const states = [...models.values()].map(({ state }) => state);
  const loras = checkList(given, "loras").map((each, i) => {
    const { name, weight = 1 } = checkOptions(each, NAMES);
    const where = `loras[${i}]`;
    if (typeof name !== "string") throw invalid(`${where}.name must be a text, not ${describe(name)}`);
    const known = states.flatMap(({ adapters }) => [...adapters.keys()]);
    if (!known.includes(name))
      throw invalid(`${where}: there is no adapter ${quote(name)}, only ${known.map(quote).join(", ") || "none"}`);
    if (states.some(({ active, fused }) => [...active, ...fused].some((used) => used.name === name)))
      throw invalid(
        `${where}: the adapter ${quote(name)} is active, and counts in all runs: load it with active: false`,
      );
    const weights = checkWeight(weight, `${where}.weight`, undefined);
    return { name, weights };
  });
  if (new Set(loras.map(({ name }) => name)).size < loras.length) throw invalid("loras has an adapter twice");
  const result: RunLoras = {};
  for (const [component, { state }] of models)
    result[component] = loras
      .filter(({ name }) => state.adapters.has(name))
      .map(({ name, weights }) => ({ name, rows: weights[component] ?? 1 }));
  return result;
}

function invalid(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}
