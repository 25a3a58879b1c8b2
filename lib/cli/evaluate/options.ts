import { PAPER_SCALES } from "../../evaluation/defaults.js";
import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { columnOptions } from "../pairs/options.js";
import { computingOptions, modelOptions, outputOptions, samplingOptions } from "../pictures/options.js";

const FROM = "Your own pairs";
const WORLD = "The drawn world";
const EDITING = "Editing";
const MODEL = "Model";
const OUTPUT = "Output";

const { revision, variant, cache_dir, local_files_only } = modelOptions;
const { dtype, quantization, device, num_threads, libtorch } = computingOptions;
const { json, progress, quiet, verbose } = outputOptions;
const { scheduler } = samplingOptions;

/** Every option of `ip2p evaluate`. */
export const evaluateOptions = declareOptions({
  model: {
    type: "string",
    value: "DIR|HUB_ID",
    help: "an InstructPix2Pix model of Stable Diffusion or Stable Diffusion XL: a folder as diffusers saves it, or the id of a repository on the Hugging Face hub; with --world by default the built-in one",
  },
  count: {
    type: "integer",
    value: "N",
    min: 1,
    max: 1_000_000,
    help: "how many edits to measure; of your own pairs some that --seed draws, by default all; of the drawn world by default 200",
  },
  seed: {
    type: "integer",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    help: "of the noise, and of the pairs or scenes; by default 0, with --world 100",
  },

  from: {
    type: "string",
    value: "DIR|FILE",
    group: FROM,
    help: "pairs with captions: a folder of images with metadata.jsonl, .csv or .parquet, a folder of parquet files, or one of these files",
  },
  output: {
    type: "string",
    value: "DIR",
    group: FROM,
    help: "a folder for results.jsonl, summary.json, curve.svg and curve.png; a run that was stopped goes on in it",
  },
  clip: {
    type: "string",
    value: "DIR|HUB_ID",
    group: FROM,
    help: "the CLIP that measures, a folder as transformers saves a CLIPModel or the id of a repository; by default that of the paper, openai/clip-vit-large-patch14",
  },
  image_guidance_scales: {
    type: "numbers",
    value: "X,X,…",
    min: 1,
    group: FROM,
    help: `how closely results follow the images: each is a point of the curve; by default ${PAPER_SCALES.join(",")}`,
  },
  as_original: {
    type: "boolean",
    group: FROM,
    help: "give CLIP pixels in -1..1, as the paper's program does by mistake, instead of 0..1",
  },
  resolution: {
    type: "integer",
    value: "PIXELS",
    min: 1,
    max: 65_536,
    group: FROM,
    help: "edges that images are stretched to before they are edited; by default what the model was trained for",
  },
  ...columnOptions,
  original_caption_column: {
    type: "string",
    value: "NAME",
    default: "original_prompt",
    group: "Columns",
    help: "the column of the captions before the edit",
  },
  edited_caption_column: {
    type: "string",
    value: "NAME",
    default: "edited_prompt",
    group: "Columns",
    help: "the column of the captions after it",
  },

  world: {
    type: "boolean",
    group: WORLD,
    help: "measure which share of edits of the drawn world succeed, as make-dataset --world draws them",
  },
  size: {
    type: "integer",
    value: "PIXELS",
    min: 16,
    max: 1024,
    group: WORLD,
    help: "width and height of the drawn images; by default 64",
  },
  image_guidance_scale: {
    type: "number",
    min: 1,
    group: WORLD,
    help: "how closely results follow the images; by default 1.5",
  },
  batch: { type: "integer", min: 1, max: 1024, group: WORLD, help: "edits that are made together; by default 8" },

  num_inference_steps: {
    type: "integer",
    min: 1,
    max: 65_536,
    group: EDITING,
    help: "denoising steps; by default 50, with --world 20",
  },
  guidance_scale: {
    type: "number",
    group: EDITING,
    help: "how strongly instructions are followed; by default 7.5, with --world 2",
  },
  scheduler: { ...scheduler, group: EDITING },
  ...{ revision: { ...revision, group: MODEL }, variant, cache_dir, local_files_only },
  ...{ dtype, quantization, device, num_threads, libtorch },
  ...{ json, progress: { ...progress, group: OUTPUT }, quiet, verbose },
});

/** Options that go with `--from` only, and with `--world` only. */
export const ONLY_FROM = ["output", "clip", "image_guidance_scales", "as_original", "resolution"] as const;
export const ONLY_WORLD = ["size", "image_guidance_scale", "batch"] as const;

export type EvaluateValues = OptionValues<typeof evaluateOptions>;
