import { isInstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import type { RunLora } from "../lora/run-loras.js";
import { AdaptedPipeline } from "../pipelines/adapted_pipeline.js";
import { HttpError } from "./errors.js";
import type { ImagePipeline } from "./models.js";

/** A LoRA adapter that a request asks for. */
export interface LoraChoice {
  name: string;
  /** How much it counts. */
  weight: number;
}

/**
 * The adapters of a model. They are loaded when they are first asked for, and are computed beside the weights, each in the rows of
 * the requests that ask for it.
 */
export class ServedAdapters {
  readonly #sources: Readonly<Record<string, string>>;
  /** The adapters' names in the pipeline, which may have others of these names. */
  readonly #loaded = new Map<string, Promise<string>>();

  /** @param sources adapters by name */
  constructor(sources: Readonly<Record<string, string>>) {
    this.#sources = sources;
  }

  /**
   * Loads what is not loaded yet.
   *
   * @returns what a run of the pipeline is given as `loras`
   * @throws a 400 for an adapter that does not fit the model
   */
  async choose(loras: readonly LoraChoice[], pipeline: ImagePipeline): Promise<RunLora[]> {
    if (loras.length === 0) return [];
    if (!(pipeline instanceof AdaptedPipeline)) throw unfit(`a ${pipeline.className} takes no LoRA adapters`);
    const chosen: RunLora[] = [];
    for (const { name, weight } of loras) {
      const known = this.#loaded.get(name);
      const loading = known ?? this.#load(name, pipeline);
      if (!known) this.#loaded.set(name, loading);
      chosen.push({ name: await loading, weight });
    }
    return chosen;
  }

  async #load(name: string, pipeline: AdaptedPipeline): Promise<string> {
    try {
      return await pipeline.loadLoraWeights(this.#sources[name]!, { active: false });
    } catch (error) {
      this.#loaded.delete(name);
      if (!isInstructPix2PixError(error, "ERR_STATE_DICT")) throw error;
      throw unfit(`the LoRA adapter ${quote(name)} is for another model`);
    }
  }

  /** The model was freed, with its adapters. */
  forget(): void {
    this.#loaded.clear();
  }
}

function unfit(problem: string): HttpError {
  return new HttpError(400, "ERR_MODEL", problem, { param: "loras" });
}

/**
 * The adapters that a request's field `loras` names: of a list, or of text in JSON as forms have it.
 *
 * @param known the names that there are
 * @throws a 400
 */
export function lorasOf(given: unknown, known: readonly string[]): LoraChoice[] {
  if (given === undefined) return [];
  const refuse = (problem: string) => new HttpError(400, "ERR_INVALID_ARGUMENT", problem, { param: "loras" });
  let list = given;
  if (typeof given === "string")
    try {
      list = JSON.parse(given);
    } catch {
      throw refuse("loras is no JSON");
    }
  if (!Array.isArray(list) || list.length > 10)
    throw refuse("loras is a list of at most 10 objects with name and weight");
  const choices = list.map((each: unknown): LoraChoice => {
    const { name, weight = 1, ...others } = Object(each) as Partial<LoraChoice>;
    if (typeof name !== "string" || Object.keys(others).length > 0)
      throw refuse("loras is a list of objects with name and weight");
    if (typeof weight !== "number" || !(Math.abs(weight) <= 10)) throw refuse("the weight of a LoRA is in -10..10");
    if (!known.includes(name))
      throw refuse(`there is no LoRA ${quote(name)}; there are ${known.map(quote).join(", ") || "none"}`);
    return { name, weight };
  });
  if (new Set(choices.map(({ name }) => name)).size < choices.length) throw refuse("loras has a name twice");
  return choices;
}
