import { PROCESSOR_CONFIG } from "../conditioning/clip_image_processor.js";
import { MODEL_CONFIG, weightBaseName } from "../models/format.js";
import type { WeightBaseName } from "../models/weight-names.js";
import { MODEL_KINDS, type ModelKind } from "../runtime/contract/index.js";
import { SCHEDULER_CONFIG } from "../schedulers/registry.js";
import type { ComponentClass, ModelIndex } from "./model-index.js";

/** The class of Stable Diffusion's safety checker. */
const SAFETY_CHECKER = "StableDiffusionSafetyChecker" satisfies ModelKind;

/** The files of a component's folder, as far as its class determines them. */
export type ComponentFiles =
  | { readonly kind: "model"; readonly config: string; readonly weights: WeightBaseName }
  | { readonly kind: "scheduler"; readonly config: string }
  | { readonly kind: "processor"; readonly config: string }
  /** Whatever text files there are. */
  | { readonly kind: "tokenizer" };

/** A component's files: they follow from the names of its class and library, as in diffusers. */
export function filesOf({ library, className }: ComponentClass): ComponentFiles {
  if (className.includes("Tokenizer")) return { kind: "tokenizer" };
  if (/ImageProcessor|FeatureExtractor/.test(className)) return { kind: "processor", config: PROCESSOR_CONFIG };
  if (className.endsWith("Scheduler")) return { kind: "scheduler", config: SCHEDULER_CONFIG };
  // Its module is one of diffusers', but it is stored as transformers stores models.
  const storedBy = className === SAFETY_CHECKER ? "transformers" : library;
  return { kind: "model", config: MODEL_CONFIG, weights: weightBaseName(storedBy) };
}

/** Classes in `model_index.json` that are lists of models, in numbered folders, by the models' class. */
const LISTS: Readonly<Record<string, ModelKind>> = { MultiControlNetModel: "ControlNetModel" };

/** Whether a component is a list of models. */
export function isList({ className }: ComponentClass): boolean {
  return Object.hasOwn(LISTS, className);
}

/** The components that most pipelines load: not, for example, a safety checker and its image processor. */
export function usableComponents({ components }: ModelIndex): string[] {
  return [...components].flatMap(([name, component]) => (component && isUsable(component) ? [name] : []));
}

function isUsable(component: ComponentClass): boolean {
  const { kind } = filesOf(component);
  if (kind !== "model") return kind !== "processor";
  return isList(component) || (isModelKind(component.className) && component.className !== SAFETY_CHECKER);
}

function isModelKind(className: string): boolean {
  return (MODEL_KINDS as readonly string[]).includes(className);
}
