import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { quote } from "../core/quote.js";
import type { WeightOf } from "./adapted-model.js";
import { type AdaptableLayers, isIn } from "./layers.js";
import type { LoraComponent } from "./names.js";

/** How much an adapter counts: in all models alike, or in each. */
export type LoraWeight = number | LoraWeights;

/** The weights of a LoRA, read from a file. */
export interface LoraWeights {
  /** The weight in the UNet. Default 1. */
  unet?: number;
  /** The weight in the text encoder. Default 1. */
  textEncoder?: number;
  /** The weight in the second text encoder. Default 1. */
  textEncoder2?: number;
  /**
   * Factors for parts of the UNet, by their names in diffusers: `{ "up_blocks": 0.5, "up_blocks.1.attentions.0": 0 }`. Of several
   * that a layer is in, the longest counts; default 1.
   */
  blocks?: Readonly<Record<string, number>>;
}

const WEIGHTS = optionNames<LoraWeights>()({ unet: true, textEncoder: true, textEncoder2: true, blocks: true });

/** Far above any use, where weights would overflow. */
const MAX_WEIGHT = 1000;

/**
 * Checks a weight.
 *
 * @param name of the argument, for messages
 * @param unet whose parts `blocks` names
 */
export function checkWeight(weight: LoraWeight, name: string, unet: AdaptableLayers | undefined): LoraWeights {
  if (typeof weight !== "object" || weight === null) {
    const number = checkNumber(weight, name);
    return { unet: number, textEncoder: number, textEncoder2: number };
  }
  const { blocks = {}, ...numbers } = checkOptions(weight, WEIGHTS);
  for (const [part, number] of Object.entries(numbers))
    if (number !== undefined) checkNumber(number, `${name}.${part}`);
  if (typeof blocks !== "object" || blocks === null)
    throw invalid(`${name}.blocks must be numbers by parts of the UNet`);
  for (const [part, number] of Object.entries(blocks)) {
    checkNumber(number, `${name}.blocks[${quote(part)}]`);
    if (!unet?.hasPart(part))
      throw invalid(`${name}.blocks: the UNet has no part ${quote(part)} with layers that adapters change`);
  }
  return { ...numbers, blocks };
}

/** A checked weight, in a model. */
export function weightIn(component: LoraComponent, weights: LoraWeights): WeightOf {
  const whole = weights[component] ?? 1;
  if (component !== "unet") return () => whole;
  const parts = Object.entries(weights.blocks ?? {}).sort(([a], [b]) => b.length - a.length);
  return (name) => whole * (parts.find(([part]) => isIn(name.slice(0, -".weight".length), part))?.[1] ?? 1);
}

export function checkNumber(value: unknown, name: string): number {
  if (typeof value !== "number" || !(Math.abs(value) <= MAX_WEIGHT))
    throw invalid(`${name} must be a number from -${MAX_WEIGHT} to ${MAX_WEIGHT}, not ${describe(value)}`);
  return value;
}

function invalid(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}
