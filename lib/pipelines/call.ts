import { PROMPT_WEIGHTINGS, type PromptWeighting } from "../conditioning/prompt-weightings.js";
import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Generator, randomSeed } from "../core/generator.js";
import { Tensor } from "../core/tensor.js";
import { checkCount, checkFraction, checkTexts, oneOf, refuseArgument } from "./options.js";
import type {
  OutputType,
  PooledPromptOptions,
  PromptOptions,
  RunOptions,
  SamplingOptions,
  ScheduleOptions,
} from "./run-options.js";

// The parts of a validated call: options with defaults, checked before anything is computed. Every function throws
// `ERR_INVALID_ARGUMENT` naming the option.

export interface PromptCall {
  prompts: readonly string[] | undefined;
  /** Undefined if none were given. One, or one for each prompt. */
  negatives: readonly string[] | undefined;
  promptEmbeds: Tensor | undefined;
  negativePromptEmbeds: Tensor | undefined;
  promptWeighting: PromptWeighting;
  /** Number of prompts. */
  batch: number;
}

/** @param width features of the embeddings that the UNet takes */
export function checkPrompts(options: PromptOptions, width: number | readonly number[]): PromptCall {
  // null means absence, as None does in Python.
  const prompt = options.prompt ?? undefined;
  const negativePrompt = options.negativePrompt ?? undefined;
  const { promptEmbeds, negativePromptEmbeds, promptWeighting = "none" } = options;
  checkTensors({ promptEmbeds, negativePromptEmbeds });
  oneOf("promptWeighting", promptWeighting, PROMPT_WEIGHTINGS);
  if ((prompt === undefined) === (promptEmbeds === undefined))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "give either prompt or promptEmbeds");
  if (negativePrompt !== undefined && negativePromptEmbeds !== undefined)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "give negativePrompt or negativePromptEmbeds, not both");
  const prompts = prompt === undefined ? undefined : checkTexts("prompt", prompt);
  const batch = prompts?.length ?? embeddingRows("promptEmbeds", promptEmbeds!, width);
  const negatives = negativePrompt === undefined ? undefined : checkTexts("negativePrompt", negativePrompt);
  if (negatives && negatives.length !== 1 && negatives.length !== batch)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${negatives.length} negative prompts were given for ${batch} prompts`,
    );
  if (negativePromptEmbeds && embeddingRows("negativePromptEmbeds", negativePromptEmbeds, width) !== batch)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `negativePromptEmbeds must have ${batch} rows`);
  return { prompts, negatives, promptEmbeds, negativePromptEmbeds, promptWeighting, batch };
}

export type PooledCall = Record<keyof PooledPromptOptions, Tensor | undefined>;

/**
 * Pooled embeddings, which go with the others.
 *
 * @param batch number of prompts
 * @param width features of the pooled embeddings
 */
export function checkPooled(
  options: PooledPromptOptions & Pick<PromptOptions, "promptEmbeds" | "negativePromptEmbeds">,
  batch: number,
  width: number,
): PooledCall {
  const { pooledPromptEmbeds, negativePooledPromptEmbeds } = options;
  checkTensors({ pooledPromptEmbeds, negativePooledPromptEmbeds });
  for (const [embeds, pooled] of [
    ["promptEmbeds", "pooledPromptEmbeds"],
    ["negativePromptEmbeds", "negativePooledPromptEmbeds"],
  ] as const) {
    if ((options[embeds] === undefined) !== (options[pooled] === undefined))
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `give ${embeds} and ${pooled} together, or neither`);
    const { shape } = options[pooled] ?? {};
    if (shape && shape.join() !== `${batch},${width}`) refuseArgument(pooled, `[${shape}]`, `[${batch},${width}]`);
  }
  return { pooledPromptEmbeds, negativePooledPromptEmbeds };
}

export interface SamplingCall {
  numImagesPerPrompt: number;
  /** Number of images that result. */
  count: number;
  eta: number;
  /** The seed, if the run created its own generator. */
  seed: number | bigint | undefined;
  generator: Generator | Generator[];
  latents: Tensor | undefined;
  guidanceInterval: readonly [number, number];
  deepCacheInterval: number;
}

/** @param batch number of prompts */
export function checkSampling(options: SamplingOptions, batch: number): SamplingCall {
  const { latents } = options;
  checkTensors({ latents });
  const numImagesPerPrompt = checkCount("numImagesPerPrompt", options.numImagesPerPrompt ?? 1);
  const count = batch * numImagesPerPrompt;
  return {
    ...{ numImagesPerPrompt, count, latents },
    eta: checkFraction("eta", options.eta ?? 0),
    ...checkNoise(options, count),
    guidanceInterval: checkInterval(options.guidanceInterval ?? [0, 1]),
    deepCacheInterval: checkCount("deepCacheInterval", options.deepCacheInterval ?? 1),
  };
}

export interface ScheduleCall {
  numInferenceSteps: number;
  timesteps: readonly number[] | undefined;
  sigmas: readonly number[] | undefined;
}

export function checkSchedule(options: ScheduleOptions, numInferenceSteps: number): ScheduleCall {
  const { timesteps, sigmas } = options;
  if (timesteps !== undefined && sigmas !== undefined)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "give timesteps or sigmas, not both");
  return { numInferenceSteps: checkCount("numInferenceSteps", numInferenceSteps), timesteps, sigmas };
}

export interface RunCall {
  outputType: OutputType;
  allowNonFinite: boolean;
  signal: AbortSignal | undefined;
  onStep: RunOptions["onStep"];
  onProgress: RunOptions["onProgress"];
}

export function checkRun(options: RunOptions<OutputType>): RunCall {
  const { outputType = "image", allowNonFinite = false, signal, onStep, onProgress } = options;
  oneOf("outputType", outputType, ["image", "tensor", "latent"]);
  for (const [name, callback] of Object.entries({ onStep, onProgress }))
    if (callback !== undefined && typeof callback !== "function")
      refuseArgument(name, describe(callback), "a function");
  return { outputType, allowNonFinite, signal, onStep, onProgress };
}

/** @param tensors by the names of their options; absent ones are undefined */
export function checkTensors(tensors: Readonly<Record<string, unknown>>): void {
  for (const [name, given] of Object.entries(tensors))
    if (given !== undefined && !(given instanceof Tensor)) refuseArgument(name, describe(given), "a Tensor");
}

function embeddingRows(name: string, embeddings: Tensor, width: number | readonly number[]): number {
  const [rows, tokens, features] = embeddings.shape;
  const [expected] = [width].flat();
  if (embeddings.shape.length !== 3 || !rows || !tokens || features !== expected)
    refuseArgument(name, `[${embeddings.shape}]`, `[B,T,${expected}]`);
  return rows;
}

function checkInterval(interval: readonly [number, number]): readonly [number, number] {
  const [from, to] = interval;
  if (!(interval.length === 2 && from >= 0 && from <= to && to <= 1))
    refuseArgument("guidanceInterval", JSON.stringify(interval), "two fractions of the steps, in order");
  return interval;
}

function checkNoise(options: SamplingOptions, count: number): Pick<SamplingCall, "seed" | "generator"> {
  if (options.seed !== undefined && options.generator !== undefined)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "give seed or generator, not both");
  const seed = options.generator ? undefined : (options.seed ?? randomSeed());
  const generator = options.generator ?? new Generator("cpu", seed);
  // A list of one is a plain generator, as in diffusers.
  const list = Array.isArray(generator) ? (generator as readonly Generator[]) : undefined;
  if (list && list.length !== 1 && list.length !== count)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${list.length} generators were given for ${count} images`);
  if (list) return { seed, generator: list.length === 1 ? list[0]! : [...list] };
  return { seed, generator: generator as Generator };
}
