import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { LORA_FOLDERS, type LoraComponent } from "./names.js";

/** Stands for every layer with a matrix. */
const ALL_LINEAR = "all-linear";

const OF_TEXT = ["q_proj", "k_proj", "v_proj", "out_proj"];

/** Those of attention, as in diffusers' scripts. */
const DEFAULTS: Readonly<Record<LoraComponent, readonly string[]>> = {
  unet: ["to_k", "to_q", "to_v", "to_out.0"],
  textEncoder: OF_TEXT,
  textEncoder2: OF_TEXT,
};

/** Shapes of weights by layer, in the order of the model. */
export type LayerShapes = ReadonlyMap<string, readonly number[]>;

/** What of a model gets an adapter. */
export interface TargetedLayers {
  layers: string[];
  /** The targets that name them. */
  targets: readonly string[];
}

/**
 * The layers whose names are a target or end with one, as in peft's `target_modules`.
 *
 * @param text targets with commas between them; undefined for the default ones
 * @throws `ERR_INVALID_ARGUMENT` for an empty target, one that no model has, and a model without any
 */
export function targetedLayers(
  text: string | undefined,
  models: ReadonlyMap<LoraComponent, LayerShapes>,
): Map<LoraComponent, TargetedLayers> {
  const given = text?.split(",").map((target) => target.trim());
  if (given?.some((target) => target === "")) throw invalid(`loraTargets has an empty name: ${quote(text!)}`);
  const unused = new Set(given);
  const found = new Map<LoraComponent, TargetedLayers>();
  for (const [component, shapes] of models) {
    const wanted = given ?? DEFAULTS[component];
    const targets = new Set<string>();
    const layers = [...shapes].flatMap(([layer, shape]) => {
      const hits = wanted.filter((target) => names(target, layer, shape));
      for (const hit of hits) {
        targets.add(hit);
        unused.delete(hit);
      }
      return hits.length > 0 ? [layer] : [];
    });
    if (layers.length === 0)
      throw invalid(`loraTargets: none of ${wanted.map(quote).join(", ")} is a layer of ${LORA_FOLDERS[component]}`);
    found.set(component, { layers, targets: wanted.filter((target) => targets.has(target)) });
  }
  const [left] = unused;
  if (left !== undefined)
    throw invalid(
      `loraTargets: ${quote(left)} is no layer of ${[...models.keys()].map((name) => LORA_FOLDERS[name]).join(" or ")}`,
    );
  return found;
}

function names(target: string, layer: string, shape: readonly number[]): boolean {
  return target === ALL_LINEAR ? shape.length === 2 : layer === target || layer.endsWith(`.${target}`);
}

function invalid(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}
