import type { ModelOptions } from "../../../models/pretrained.js";
import type { TextEncoders } from "../../trainer.js";
import { KEPT_MODELS } from "../kept-models.js";
import type { LoadPlace } from "../recipe.js";
import { modelOptions } from "./models.js";

/**
 * What loads a text encoder: from a checkpoint that has trained it, otherwise from the base model. One that is to be trained is
 * loaded in float32.
 */
export function textEncoderLoader<N extends keyof TextEncoders>(
  name: N,
  place: LoadPlace,
  willTrain: boolean,
  ofBase: (name: N, options: ModelOptions) => Promise<NonNullable<TextEncoders[N]>>,
): () => Promise<NonNullable<TextEncoders[N]>> {
  const options: ModelOptions = { ...modelOptions(place), dtype: willTrain ? "float32" : place.frozenDType };
  const folder = place.trained?.[name];
  if (folder === undefined) return () => ofBase(name, options);
  return () => KEPT_MODELS[name].fromPretrained(folder, options) as Promise<NonNullable<TextEncoders[N]>>;
}
