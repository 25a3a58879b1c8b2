import type { Model } from "./api.js";

/** What is asked for, by the names of the server's fields. */
export interface Settings {
  model: string;
  prompt: string;
  negative_prompt: string;
  guidance_scale: number;
  image_guidance_scale: number;
  num_inference_steps: number;
  /** Of the noise, unless a random one is drawn. */
  seed: number;
  randomSeed: boolean;
  /** Empty for the model's own. */
  scheduler: string;
  /** How much of an image changes, 0..1. */
  strength: number;
  n: number;
  /** LoRA adapters by name, and how much each counts. */
  loras: Readonly<Record<string, number>>;
  /** WIDTHxHEIGHT; empty for what the model was trained for. */
  size: string;
}

export const DEFAULTS: Settings = {
  ...{ model: "", prompt: "", negative_prompt: "", guidance_scale: 7.5, image_guidance_scale: 1.5 },
  ...{ num_inference_steps: 20, seed: 0, randomSeed: true, scheduler: "", strength: 0.8, n: 1, size: "", loras: {} },
};

/** What suits a model. */
export function defaultsFor({ guidance_scale }: Model): Partial<Settings> {
  return { guidance_scale: guidance_scale ?? DEFAULTS.guidance_scale };
}

/** Settings out of JSON that may come from anywhere: what is unknown or of another type is dropped. */
export function readSettings(text: string): Partial<Settings> {
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    return {};
  }
  if (typeof given !== "object" || given === null) return {};
  const known = Object.entries(given).filter(
    ([name, value]) => name in DEFAULTS && typeof value === typeof DEFAULTS[name as keyof Settings],
  );
  const settings = Object.fromEntries(known) as Partial<Settings>;
  if ("loras" in settings)
    settings.loras = Object.fromEntries(
      Object.entries(settings.loras ?? {}).filter(([, weight]) => typeof weight === "number" && Math.abs(weight) <= 10),
    );
  return settings;
}
