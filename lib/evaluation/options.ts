import { describe } from "../core/arguments.js";
import type { DTypeOption } from "../core/dtype.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import type { InstructPix2PixPipeline } from "../pipelines/stable_diffusion/instruct_pix2pix.js";
import type { StableDiffusionXLInstructPix2PixPipeline } from "../pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import type { Quantization } from "../runtime/contract/index.js";
import { PAPER_CLIP, PAPER_SCALES } from "./defaults.js";

/** A pipeline that edits by instruction. */
export type InstructionEditor = InstructPix2PixPipeline | StableDiffusionXLInstructPix2PixPipeline;

/** Options of {@link evaluate}. */
export interface EvaluateOptions {
  /** What edits: a folder, an id on the hub, or a loaded pipeline, which stays the caller's. */
  model: string | InstructionEditor;
  /** The pairs, as for training: a folder of images with metadata, a folder of parquet files, or one of these files. */
  from: string;
  /** A folder for `results.jsonl`, `summary.json`, `curve.svg` and `curve.png`. A run that was stopped goes on in it. */
  output: string;
  /** The CLIP that measures: a folder as transformers saves a `CLIPModel`, or an id on the hub. Default that of the paper. */
  clip?: string | undefined;
  /** Each is a point of the curve. Default 1, 1.2, 1.4, 1.6, 1.8, 2, 2.2. */
  imageGuidanceScales?: readonly number[] | undefined;
  /** Text guidance. Default 7.5. */
  guidanceScale?: number | undefined;
  /** Denoising steps. Default 50. */
  numInferenceSteps?: number | undefined;
  /** Edges that images are stretched to before they are edited, in pixels. Default: what the model was trained for. */
  resolution?: number | undefined;
  /** Takes only this many pairs, drawn as `torch.randperm` draws them under `seed`. Default: all, in their order. */
  count?: number | undefined;
  /** The seed of the noise, where row i has `seed` + i, and of the pairs that are drawn. Default 0. */
  seed?: number | undefined;
  /** Gives the paper's CLIP pixels in -1..1, as its program does by mistake, instead of 0..1. Default false. */
  asOriginal?: boolean | undefined;
  /** The column of the images to edit. Default "input_image". */
  originalImageColumn?: string | undefined;
  /** The column of the true edits. Default "edited_image". */
  editedImageColumn?: string | undefined;
  /** The column of the instructions. Default "edit_prompt". */
  editPromptColumn?: string | undefined;
  /** The column of the captions before the edit. Default "original_prompt". */
  originalCaptionColumn?: string | undefined;
  /** The column of the captions after it. Default "edited_prompt". */
  editedCaptionColumn?: string | undefined;
  /** The sampler by its class in diffusers, for a model that is loaded here. Default the model's own. */
  scheduler?: string | undefined;
  /** The type of the weights of a model that is loaded here; see {@link DTypeOption} for "auto". Default "float32". */
  dtype?: DTypeOption | undefined;
  /** The quantization of a model that is loaded here. Default "none". */
  quantization?: Quantization | undefined;
  /** Where a model that is loaded here computes, and CLIP. Default "auto". */
  device?: string | undefined;
  /** The branch, tag or commit of the model's repository on the hub. */
  revision?: string | undefined;
  /** The variant of the model's weight files. */
  variant?: string | undefined;
  /** Where models from the hub are kept. */
  cacheDir?: string | undefined;
  /** Whether only cached files are used. */
  localFilesOnly?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Called after every edit. */
  onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
  /** Called for each pair that cannot be evaluated. */
  onSkip?: ((skipped: SkippedPair) => void) | undefined;
}

/** A pair that cannot be evaluated. */
export interface SkippedPair {
  /** Its number in the data set, from 0. */
  row: number;
  /** The place of the row: `metadata.jsonl, line 18`. */
  where: string;
  reason: string;
}

const OPTIONS = optionNames<EvaluateOptions>()({
  ...{ model: true, from: true, output: true, clip: true, imageGuidanceScales: true, guidanceScale: true },
  ...{ numInferenceSteps: true, resolution: true, count: true, seed: true, asOriginal: true },
  ...{ originalImageColumn: true, editedImageColumn: true, editPromptColumn: true },
  ...{ originalCaptionColumn: true, editedCaptionColumn: true, scheduler: true, dtype: true, quantization: true },
  ...{ device: true, revision: true, variant: true, cacheDir: true, localFilesOnly: true },
  ...{ signal: true, onProgress: true, onSkip: true },
});

const LARGEST = 2 ** 16;

/** Options with their defaults, checked as far as they can be without the model. @throws `ERR_INVALID_ARGUMENT` */
export function checkedOptions(options: EvaluateOptions) {
  const given = checkOptions(options, OPTIONS) as EvaluateOptions;
  const refuse = (name: string, value: unknown, expected: string) =>
    new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} must be ${expected}, not ${describe(value)}`);
  const { model } = given;
  if (typeof model === "string" ? model === "" : typeof model?.run !== "function")
    throw refuse("model", model, "a folder, an id on the hub, or a loaded InstructPix2Pix pipeline");
  for (const name of ["from", "output"] as const)
    if (typeof given[name] !== "string" || given[name] === "") throw refuse(name, given[name], "a path");
  const defaults = { clip: PAPER_CLIP, originalCaptionColumn: "original_prompt", editedCaptionColumn: "edited_prompt" };
  const { clip, originalCaptionColumn, editedCaptionColumn } = withDefaults(given, defaults);
  for (const [name, value] of Object.entries({ clip, originalCaptionColumn, editedCaptionColumn }))
    if (typeof value !== "string" || value === "") throw refuse(name, value, "a text");
  const scales = given.imageGuidanceScales ?? PAPER_SCALES;
  if (!Array.isArray(scales) || scales.length === 0 || !scales.every((scale) => Number.isFinite(scale) && scale >= 1))
    throw refuse("imageGuidanceScales", scales, "a list of numbers of at least 1");
  if (new Set(scales).size < scales.length) throw refuse("imageGuidanceScales", scales, "a list without repetitions");
  const guidanceScale = given.guidanceScale ?? 7.5;
  if (!(Number.isFinite(guidanceScale) && guidanceScale > 1))
    throw refuse("guidanceScale", guidanceScale, "a number above 1: below, there is no guidance");
  const { numInferenceSteps, seed } = withDefaults(given, { numInferenceSteps: 50, seed: 0 });
  const wholes: [string, unknown, number, number][] = [
    ["numInferenceSteps", numInferenceSteps, 1, LARGEST],
    ["seed", seed, 0, Number.MAX_SAFE_INTEGER],
    ...(given.count === undefined ? [] : [["count", given.count, 1, 2 ** 32] as [string, unknown, number, number]]),
    ...(given.resolution === undefined
      ? []
      : [["resolution", given.resolution, 1, LARGEST] as [string, unknown, number, number]]),
  ];
  for (const [name, value, least, most] of wholes)
    if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most)
      throw refuse(name, value, `a whole number from ${least} to ${most}`);
  const asOriginal = given.asOriginal ?? false;
  if (typeof asOriginal !== "boolean") throw refuse("asOriginal", asOriginal, "true or false");
  return {
    ...given,
    ...{ clip, originalCaptionColumn, editedCaptionColumn, imageGuidanceScales: [...scales], guidanceScale },
    ...{ numInferenceSteps, seed, asOriginal },
  };
}

export type CheckedOptions = ReturnType<typeof checkedOptions>;

/** The values under these names, with defaults for those left out. */
function withDefaults<T extends object>(given: Partial<Record<keyof T, unknown>>, defaults: T): T {
  return Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [name, given[name as keyof T] ?? value]),
  ) as T;
}
