import { type GuidanceRow, guidanceRows } from "../conditioning/guidance.js";
import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Generator, randomSeed } from "../core/generator.js";
import { Tensor } from "../core/tensor.js";
import type { StableDiffusionComponents } from "./components.js";
import type { EditOptions, OutputType } from "./edit-options.js";
import { checkCount, checkFinite, checkTexts, refuseArgument } from "./options.js";

/** A validated call: the options with defaults, and the pipeline's components at its start. */
export type Call = Omit<StableDiffusionComponents, "scheduler"> & {
  /** The device. */
  device: string;
  prompts: readonly string[] | undefined;
  negatives: readonly string[] | undefined;
  batch: number;
  count: number;
  numImagesPerPrompt: number;
  rows: readonly GuidanceRow[];
  guidanceScale: number;
  imageGuidanceScale: number;
  guidanceInterval: readonly [number, number];
  deepCacheInterval: number;
  numInferenceSteps: number;
  eta: number;
  /** The seed, if the run created its own generator. */
  seed: number | bigint | undefined;
  generator: Generator | readonly Generator[];
  outputType: OutputType;
  allowNonFinite: boolean;
};

/**
 * Validates the options of a run, before anything is computed.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option
 */
export function checkCall(
  options: EditOptions<OutputType>,
  { vae, textEncoder, tokenizer, unet }: StableDiffusionComponents,
  device: string,
): Call {
  const { outputType = "image" } = options;
  if (options.image === undefined || options.image === null) refuseArgument("image", options.image, "given");
  if (!["image", "tensor", "latent"].includes(outputType))
    refuseArgument("outputType", outputType, '"image", "tensor" or "latent"');
  for (const name of ["latents", "promptEmbeds", "negativePromptEmbeds"] as const) {
    const given = options[name];
    if (given !== undefined && !(given instanceof Tensor)) refuseArgument(name, describe(given), "a Tensor");
  }
  const { onStep } = options;
  if (onStep !== undefined && typeof onStep !== "function") refuseArgument("onStep", describe(onStep), "a function");
  const texts = checkPrompts(options, unet.config.cross_attention_dim);
  const numImagesPerPrompt = checkCount("numImagesPerPrompt", options.numImagesPerPrompt ?? 1);
  const count = texts.batch * numImagesPerPrompt;
  const eta = checkFinite("eta", options.eta ?? 0);
  if (eta < 0 || eta > 1) refuseArgument("eta", eta, "in 0..1");
  const guidanceScale = checkFinite("guidanceScale", options.guidanceScale ?? 7.5);
  const imageGuidanceScale = checkFinite("imageGuidanceScale", options.imageGuidanceScale ?? 1.5);
  return {
    ...{ vae, textEncoder, tokenizer, unet, device },
    ...texts,
    ...checkNoise(options, count),
    ...{ numImagesPerPrompt, count, eta, outputType, guidanceScale, imageGuidanceScale },
    rows: guidanceRows(guidanceScale, imageGuidanceScale),
    guidanceInterval: checkInterval(options.guidanceInterval ?? [0, 1]),
    deepCacheInterval: checkCount("deepCacheInterval", options.deepCacheInterval ?? 1),
    numInferenceSteps: checkCount("numInferenceSteps", options.numInferenceSteps ?? 100),
    allowNonFinite: options.allowNonFinite ?? false,
  };
}

type Texts = Pick<Call, "prompts" | "negatives" | "batch">;

function checkPrompts(options: EditOptions<OutputType>, width: number | readonly number[]): Texts {
  const { prompt, promptEmbeds, negativePrompt, negativePromptEmbeds } = options;
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
  return { prompts, negatives, batch };
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

function checkNoise(options: EditOptions<OutputType>, count: number): Pick<Call, "seed" | "generator"> {
  if (options.seed !== undefined && options.generator !== undefined)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "give seed or generator, not both");
  const seed = options.generator ? undefined : (options.seed ?? randomSeed());
  const generator = options.generator ?? new Generator("cpu", seed);
  if (Array.isArray(generator) && generator.length !== count)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${generator.length} generators were given for ${count} pictures`,
    );
  return { seed, generator };
}
