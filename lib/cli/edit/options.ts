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

const SIZE = "Stable Diffusion XL";

/** Every option of `ip2p edit`. */
export const editOptions = declareOptions({
  model: {
    type: "string",
    value: "DIR|HUB_ID|FILE",
    help: "an InstructPix2Pix model of Stable Diffusion or Stable Diffusion XL: a folder as diffusers saves it, a checkpoint folder of ip2p train, one safetensors file in the original layout, or the id of a repository on the Hugging Face hub; by default a small built-in one: for photographs, or, if the image has 64×64 pixels, for drawings of simple shapes",
  },
  image: {
    type: "string",
    value: "FILE|URL",
    required: true,
    help: "the image to edit: PNG, JPEG, WebP, GIF, TIFF or AVIF; its sides are rounded to what the model can take",
  },
  ...maxSizeOptions,
  keep_resolution: {
    type: "boolean",
    help: "give the result the image's own size, with its detail: what the edit does to colours and light is carried over from the size at which it was computed; detail that it adds or removes, such as snow or blur, is not",
  },
  prompt: { type: "string", value: "TEXT", required: true, help: 'the instruction, e.g. "make it winter"' },
  output: {
    type: "string",
    value: "FILE",
    required: true,
    help: "where the edited image goes; the extension says the format (png, jpg, webp, avif, tiff, gif); several images are numbered: out-1.png, out-2.png, …",
  },

  ...promptOptions,
  num_inference_steps: {
    ...stepOptions.num_inference_steps,
    default: 20,
    help: `${stepOptions.num_inference_steps.help}; in a program the default is 100, as in diffusers`,
  },
  guidance_scale: {
    ...stepOptions.guidance_scale,
    help: "how strongly the prompt is followed (text guidance); guidance is on above 1; by default 7.5, with Stable Diffusion XL 5, with the built-in models 2",
  },
  image_guidance_scale: {
    type: "number",
    default: 1.5,
    group: SAMPLING,
    help: "how closely the result follows the image (image guidance); guidance is off below 1",
  },
  guidance_rescale: {
    type: "number",
    min: 0,
    max: 1,
    group: SAMPLING,
    help: "the share of the guided prediction that is scaled down to the prompt's own contrast, against overexposed images; Stable Diffusion XL only",
  },
  ...samplingOptions,
  height: {
    type: "integer",
    value: "PIXELS",
    min: 1,
    max: 65_536,
    group: SIZE,
    help: "of the result; by default what the model was trained for, to which the image is stretched; Stable Diffusion XL only, others keep the image's size",
  },
  width: { type: "integer", value: "PIXELS", min: 1, max: 65_536, group: SIZE, help: "likewise" },
  ...xlOptions,
  ...loraOptions,
  ...modelOptions,
  ...computingOptions,
  ...outputOptions,
});

export type EditValues = OptionValues<typeof editOptions>;
