import { declareOptions, type OptionValues } from "../../options/declaration.js";
import {
  computingOptions,
  modelOptions,
  outputOptions,
  promptOptions,
  SAMPLING,
  samplingOptions,
  stepOptions,
} from "../pictures/options.js";

const TILES = "Tiles";

// Upscalers are folders, not single files.
const { config: _config, ...folderOptions } = modelOptions;

/** Every option of `ip2p upscale`. */
export const upscaleOptions = declareOptions({
  scale: { type: "string", choices: ["2", "4"], required: true, help: "how many times as large each side becomes" },
  model: {
    type: "string",
    value: "DIR|HUB_ID",
    required: true,
    help: "an upscaler of this scale: a folder as diffusers saves it, or the id of a repository on the Hugging Face hub",
  },
  image: {
    type: "string",
    value: "FILE|URL",
    required: true,
    help: "the image: PNG, JPEG, WebP, GIF, TIFF or AVIF; its sides are rounded down to what the model can take",
  },
  output: {
    type: "string",
    value: "FILE",
    required: true,
    help: "where the large image goes; the extension says the format (png, jpg, webp, avif, tiff, gif); several images are numbered: out-1.png, out-2.png, …",
  },
  prompt: { type: "string", value: "TEXT", default: "", help: "what the image shows" },

  tile: {
    type: "boolean",
    group: TILES,
    help: "compute images that are larger than a tile in overlapping tiles whose seams are blended: bounded memory, and results differ",
  },
  tile_size: {
    type: "integer",
    value: "PIXELS",
    min: 1,
    max: 65_536,
    group: TILES,
    help: "edge of a tile in the given image; by default the size that the model was trained for",
  },
  tile_overlap: {
    type: "integer",
    value: "PIXELS",
    min: 0,
    max: 65_536,
    group: TILES,
    help: "what neighbouring tiles have in common; by default a quarter of a tile",
  },

  ...promptOptions,
  noise_level: {
    type: "integer",
    min: 0,
    group: SAMPLING,
    help: "with --scale 4, the noise that is added to the image: more of it leaves more to the model; by default 20",
  },
  clip_skip: {
    type: "integer",
    min: 0,
    group: SAMPLING,
    help: "with --scale 4, last layers of the text encoder that are left out for the prompt; by default none",
  },
  num_inference_steps: { ...stepOptions.num_inference_steps, default: 75 },
  guidance_scale: {
    ...stepOptions.guidance_scale,
    default: 9,
    help: `${stepOptions.guidance_scale.help}; with --scale 2 the prompt is not used at 0`,
  },
  ...samplingOptions,
  ...folderOptions,
  ...computingOptions,
  ...outputOptions,
});

export type UpscaleValues = OptionValues<typeof upscaleOptions>;
