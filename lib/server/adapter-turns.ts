import { isInstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { Semaphore } from "../core/semaphore.js";
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
 * The adapters of a model. They are part of its weights while a request is computed, so requests with others take turns: one
 * that asks for other adapters waits until those before it have ended, and those behind it wait for it.
 */
export class AdapterTurns {
  readonly #sources: Readonly<Record<string, string>>;
  readonly #turns = new Semaphore(1);
  readonly #known = new Set<string>();
  readonly #given: { shares: boolean } | undefined;
  /** What is added to the weights now. */
  #applied = key([]);

  /**
   * @param sources adapters by name
   * @param given of a pipeline that the server got: whether another one shares its models
   */
  constructor(sources: Readonly<Record<string, string>>, given?: { shares: boolean }) {
    this.#sources = sources;
    this.#given = given;
  }

  /** Requests for the model begin one after the other. */
  turn<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return this.#turns.run(work, signal);
  }

  /**
   * Changes the adapters, unless they are these.
   *
   * @param alone resolves when no other request uses the model
   * @throws a 400 for an adapter that does not fit the model
   */
  async become(loras: readonly LoraChoice[], pipeline: ImagePipeline, alone: () => Promise<void>): Promise<void> {
    const wanted = key(loras);
    if (wanted === this.#applied) return;
    if (!(pipeline instanceof AdaptedPipeline)) throw unfit(`a ${pipeline.className} takes no LoRA adapters`);
    if (this.#given?.shares)
      throw unfit("the model shares its weights with another one, which adapters would change too");
    if (this.#given && this.#known.size === 0 && pipeline.activeAdapters.length > 0)
      throw unfit("the model has adapters of its own already");
    await alone();
    // Until it is done, nothing is known of the weights.
    this.#applied = "";
    for (const { name } of loras) if (!this.#known.has(name)) await this.#load(name, pipeline);
    await pipeline.setAdapters(
      loras.map(({ name }) => name),
      loras.map(({ weight }) => weight),
    );
    this.#applied = wanted;
  }

  async #load(name: string, pipeline: AdaptedPipeline): Promise<void> {
    try {
      await pipeline.loadLoraWeights(this.#sources[name]!, { adapterName: name, weight: 0 });
      this.#known.add(name);
    } catch (error) {
      if (!isInstructPix2PixError(error, "ERR_STATE_DICT")) throw error;
      throw unfit(`the LoRA adapter ${quote(name)} is for another model`);
    }
  }

  /** The model was freed, with its adapters. */
  forget(): void {
    this.#known.clear();
    this.#applied = key([]);
  }
}

function key(loras: readonly LoraChoice[]): string {
  return JSON.stringify(loras.map(({ name, weight }) => [name, weight]).sort());
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
