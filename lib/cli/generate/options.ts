import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { loraOptions } from "../pictures/lora.js";
import {
  computingOptions,
  maxSizeOptions,
  modelOptions,
  outputOptions,
  promptOptions,
  SAMPLING,
  samplingOptions,
  stepOptions,
} from "../pictures/options.js";
import { xlOptions } from "../pictures/xl-options.js";
import { controlOptions } from "./control-options.js";
import { kandinskyOptions } from "./kandinsky-options.js";

const PICTURES = "Images";
const XL = "Stable Diffusion XL";

/** Every option of `ip2p generate`. */
export const generateOptions = declareOptions({
  model: {
    type: "string",
    value: "DIR|HUB_ID|FILE",
    required: true,
    help: "a text-to-image, inpainting or refining model of Stable Diffusion or Stable Diffusion XL, or a decoder of Kandinsky 2.2: a folder as diffusers saves it, one safetensors file in the original layout, or the id of a repository on the Hugging Face hub",
  },
  prompt: { type: "string", value: "TEXT", required: true, help: "what the image shows" },
  output: {
    type: "string",
    value: "FILE",
    required: true,
    help: "where the image goes; the extension says the format (png, jpg, webp, avif, tiff, gif); several images are numbered: out-1.png, out-2.png, …",
  },

  image: {
    type: "string",
    value: "FILE|URL",
    group: PICTURES,
    help: "an image to start from: PNG, JPEG, WebP, GIF, TIFF or AVIF; its sides are rounded to what the model can take",
  },
  max_size: { ...maxSizeOptions.max_size, group: PICTURES },
  strength: {
    type: "number",
    min: 0,
    max: 1,
    group: PICTURES,
    help: "how much of the image is replaced by noise: steps · strength steps are made; by default 0.8, and 1 with --mask; with Stable Diffusion XL 0.3, and 0.9999 with --mask; with Kandinsky 2.2 0.3",
  },
  mask: {
    type: "string",
    value: "FILE|URL",
    group: PICTURES,
    help: "an image that is white where --image is to be painted anew, and black where it stays",
  },
  padding_mask_crop: {
    type: "integer",
    value: "PIXELS",
    min: 0,
    max: 65_536,
    group: PICTURES,
    help: "compute only the masked part, enlarged to --height and --width, with this margin around it, and put it back into the image; the mask must have the image's size",
  },
  height: {
    type: "integer",
    value: "PIXELS",
    min: 1,
    max: 65_536,
    group: PICTURES,
    help: "of the result, a multiple of 8; by default what the model was trained for; with --image the image decides, see --max_size",
  },
  width: { type: "integer", value: "PIXELS", min: 1, max: 65_536, group: PICTURES, help: "likewise" },

  ...controlOptions,
  ...promptOptions,
  clip_skip: {
    type: "integer",
    min: 0,
    group: SAMPLING,
    help: "last layers of the text encoder that are left out for the prompt; by default none",
  },
  ...stepOptions,
  guidance_rescale: {
    type: "number",
    min: 0,
    max: 1,
    default: 0,
    group: SAMPLING,
    help: "the share of the guided prediction that is scaled down to the prompt's own contrast, against overexposed images; with --image only for Stable Diffusion XL",
  },
  timesteps: {
    type: "numbers",
    value: "T,…",
    min: 0,
    group: SAMPLING,
    help: "the timesteps to visit, descending, instead of --num_inference_steps; not every scheduler takes them",
  },
  sigmas: {
    type: "numbers",
    value: "SIGMA,…",
    min: 0,
    group: SAMPLING,
    help: "the noise levels to visit, descending, instead of --num_inference_steps; not every scheduler takes them",
  },
  ...samplingOptions,
  ...xlOptions,
  negative_original_size: {
    type: "numbers",
    value: "HEIGHT,WIDTH",
    min: 0,
    group: XL,
    help: "the same as --original_size for the negative prompt; with text alone both negative sizes must be given",
  },
  negative_crops_coords_top_left: {
    type: "numbers",
    value: "TOP,LEFT",
    group: XL,
    help: "the same as --crops_coords_top_left for the negative prompt",
  },
  negative_target_size: {
    type: "numbers",
    value: "HEIGHT,WIDTH",
    min: 0,
    group: XL,
    help: "the same as --target_size for the negative prompt",
  },
  aesthetic_score: {
    type: "number",
    group: XL,
    help: "what a refiner is told of the result's quality, about 1 to 10; by default 6",
  },
  negative_aesthetic_score: {
    type: "number",
    group: XL,
    help: "the same for the negative prompt; by default 2.5",
  },
  ...kandinskyOptions,
  ...loraOptions,
  ...modelOptions,
  ...computingOptions,
  ...outputOptions,
});

export type GenerateValues = OptionValues<typeof generateOptions>;
