import { PROMPT_WEIGHTINGS } from "../../conditioning/prompt-weightings.js";
import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { OUTPUT, reportingOptions } from "../reporting-options.js";
import type { LoraValues } from "./lora.js";
import type { XLValues } from "./xl-options.js";

// The options that commands which make images share, by topic. A command lists the groups that it has, with its own options
// between them.

export const SAMPLING = "Sampling";
export const MODEL = "Model";
const COMPUTING = "Computing";

export const promptOptions = declareOptions({
  negative_prompt: { type: "string", value: "TEXT", group: SAMPLING, help: "the negative prompt: what to avoid" },
  prompt_weighting: {
    type: "string",
    choices: PROMPT_WEIGHTINGS,
    default: "none",
    group: SAMPLING,
    help: 'compel reads weights in prompts, in Compel\'s grammar: (snow)1.3, fog--, ("a cat", "a dog").blend(0.7, 0.3)',
  },
});

/** How large the image is that a command takes. */
export const maxSizeOptions = declareOptions({
  max_size: {
    type: "string",
    value: "PIXELS|none",
    help: "resize a larger image so that its longer side has this many pixels, keeping its proportions; by default what the model was trained for, and none keeps all pixels; in a program the default is to keep them, as in diffusers",
  },
});

/** How many steps there are, and where and how fully they are computed. */
export const stepOptions = declareOptions({
  num_inference_steps: {
    type: "integer",
    min: 1,
    default: 50,
    group: SAMPLING,
    help: "denoising steps, at most as many as the model was trained with (1000); more are slower and finer",
  },
  guidance_scale: {
    type: "number",
    group: SAMPLING,
    help: "how strongly the prompt is followed (text guidance); guidance is on above 1; by default 7.5, with Stable Diffusion XL 5, or 7.5 with --mask; with Kandinsky 2.2 4",
  },
});

export const samplingOptions = declareOptions({
  guidance_start: {
    type: "number",
    min: 0,
    max: 1,
    default: 0,
    group: SAMPLING,
    help: "the fraction of the steps at which guidance begins; steps without guidance are two to three times as fast, and the result differs",
  },
  guidance_end: {
    type: "number",
    min: 0,
    max: 1,
    default: 1,
    group: SAMPLING,
    help: "the fraction of the steps at which guidance ends",
  },
  deep_cache_interval: {
    type: "integer",
    value: "N",
    min: 1,
    default: 1,
    group: SAMPLING,
    help: "compute the deep levels of the UNet in every N-th step only: faster, not exact",
  },
  scheduler: {
    type: "string",
    value: "CLASS",
    group: SAMPLING,
    help: "the sampler by its class in diffusers, e.g. EulerAncestralDiscreteScheduler; by default the model's own",
  },
  eta: {
    type: "number",
    min: 0,
    max: 1,
    default: 0,
    group: SAMPLING,
    help: "η, the amount of noise of DDIM; other schedulers ignore it",
  },
  seed: {
    type: "bigint",
    min: 0,
    max: 2n ** 64n - 1n,
    group: SAMPLING,
    help: "seed of the noise: the same seed gives the same image, here and in diffusers; by default random, and printed",
  },
  num_images_per_prompt: {
    type: "integer",
    min: 1,
    max: 1000,
    default: 1,
    group: SAMPLING,
    help: "images to make, all of them in one batch",
  },
});

/** Where a model comes from; a command declares `model` itself. */
export const modelOptions = declareOptions({
  config: {
    type: "string",
    value: "DIR|HUB_ID",
    group: MODEL,
    help: "for a model in one file: a folder or repository in diffusers' format whose configurations, tokenizer and scheduler are used; by default those of the published models",
  },
  revision: { type: "string", value: "NAME", group: MODEL, help: "branch, tag or commit of the hub's repository" },
  variant: { type: "string", value: "NAME", group: MODEL, help: "reads weight files of a variant, e.g. fp16" },
  cache_dir: {
    type: "string",
    value: "DIR",
    group: MODEL,
    help: "where models from the hub are kept; by default the Hugging Face cache, shared with Python",
  },
  safety_checker: {
    type: "boolean",
    default: true,
    group: MODEL,
    help: "do without the model's safety checker, which replaces images by black ones",
  },
  local_files_only: { type: "boolean", group: MODEL, help: "use only cached files, without network access" },
});

export const computingOptions = declareOptions({
  dtype: {
    type: "string",
    choices: ["auto", "float32", "bfloat16", "float16"],
    default: "float32",
    group: COMPUTING,
    help: "the type of weights and arithmetic; auto: the fastest that the device has instructions for, bfloat16 or float32 on a CPU",
  },
  vae_dtype: {
    type: "string",
    choices: ["float32", "bfloat16", "float16"],
    group: COMPUTING,
    help: "the type of the autoencoder; by default --dtype, but float32 beside float16 where its file says force_upcast",
  },
  allow_non_finite: {
    type: "boolean",
    group: COMPUTING,
    help: "accept NaN and infinity in weights and results, which give a black image, instead of failing",
  },
  quantization: {
    type: "string",
    choices: ["none", "int8"],
    default: "none",
    group: COMPUTING,
    help: "int8 computes most of the UNet with 8-bit integers, on the CPU: faster, in less memory, not exact",
  },
  device: {
    type: "string",
    value: "auto|cpu|cuda[:N]",
    default: "auto",
    group: COMPUTING,
    help: "auto is the first CUDA device that works, else the CPU",
  },
  attention: {
    type: "string",
    choices: ["auto", "math"],
    default: "auto",
    group: COMPUTING,
    help: "math materialises the attention scores and is meant for comparisons",
  },
  enable_model_cpu_offload: {
    type: "boolean",
    group: COMPUTING,
    help: "keep models in host memory, and each on the GPU only while it computes: less GPU memory, more time",
  },
  vae_slicing: {
    type: "boolean",
    group: COMPUTING,
    help: "encode and decode images one at a time: less memory for several",
  },
  vae_tiling: {
    type: "boolean",
    group: COMPUTING,
    help: "encode and decode large images in overlapping tiles: bounded memory, results differ a little",
  },
  allow_tf32: { type: "boolean", group: COMPUTING, help: "let CUDA round float32 matrix products to TF32" },
  deterministic: {
    type: "boolean",
    group: COMPUTING,
    help: "use deterministic algorithms on CUDA; the CPU is always deterministic",
  },
  num_threads: {
    type: "integer",
    min: 1,
    max: 1024,
    group: COMPUTING,
    help: "threads on the CPU; by default as many as there are cores to use",
  },
  libtorch: {
    type: "string",
    value: "DIR",
    group: COMPUTING,
    help: "the libtorch to use instead of the one found automatically",
  },
});

export const outputOptions = declareOptions({
  grid: {
    type: "boolean",
    group: OUTPUT,
    help: "write one image that shows the original, where there is one, and the results side by side",
  },
  ...reportingOptions,
  verbose: { type: "boolean", group: OUTPUT, help: "say more, and show stacks of errors" },
});

/** The values that every such command has. */
export type PictureValues = OptionValues<
  typeof promptOptions &
    typeof stepOptions &
    typeof samplingOptions &
    typeof modelOptions &
    typeof computingOptions &
    typeof outputOptions
> &
  // Of commands that make new images only.
  XLValues &
  Partial<LoraValues> & { model: string | undefined; prompt: string; output: string };
