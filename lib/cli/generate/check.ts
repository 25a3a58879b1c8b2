import { camelCase } from "../../options/names.js";
import { checkMaxSizeValue, checkPictureValues, usage } from "../pictures/check.js";
import { checkXLValues, refuseXLValues } from "../pictures/xl-options.js";
import { checkControlValues } from "./control-options.js";
import type { GenerateValues } from "./options.js";

const NEGATIVE_SIZES = {
  negative_original_size: "negativeOriginalSize",
  negative_crops_coords_top_left: "negativeCropsCoordsTopLeft",
  negative_target_size: "negativeTargetSize",
} as const;

/** @throws `ERR_USAGE` for options that models of Stable Diffusion do not take */
export function checkStableDiffusionValues(values: GenerateValues): void {
  refuseXLValues(values);
  for (const [name, key] of Object.entries({
    ...NEGATIVE_SIZES,
    aesthetic_score: "aestheticScore",
    negative_aesthetic_score: "negativeAestheticScore",
  } as const))
    if (values[key] !== undefined)
      throw usage(`--${name} is for Stable Diffusion XL, but the model is of another family`);
  if (values.guidanceRescale !== 0 && values.image !== undefined)
    throw usage("--guidance_rescale is for text alone: it does not go with --image");
}

/** @throws `ERR_USAGE` for options that do not go together */
export function checkGenerateValues(values: GenerateValues): void {
  checkPictureValues(values);
  checkXLValues(values);
  for (const name of ["negative_original_size", "negative_crops_coords_top_left", "negative_target_size"] as const) {
    const value = values[NEGATIVE_SIZES[name]];
    if (value !== undefined && value.length !== 2) throw usage(`--${name} takes two numbers, not ${value.length}`);
  }
  if (values.refiner !== undefined && values.paddingMaskCrop !== undefined)
    throw usage("--padding_mask_crop does not go with --refiner");
  checkControlValues(values);
  const { image, mask, controlnet } = values;
  checkMaxSizeValue(values.maxSize);
  for (const [name, value] of Object.entries({ strength: values.strength, max_size: values.maxSize, mask }))
    if (value !== undefined && image === undefined) throw usage(`--${name} is for an image: give --image too`);
  if (values.paddingMaskCrop !== undefined && mask === undefined)
    throw usage("--padding_mask_crop is for the masked part of an image: give --mask too");
  for (const name of ["height", "width"] as const)
    if (values[name] !== undefined && image !== undefined && mask === undefined && controlnet === undefined)
      throw usage(`--${name} does not go with --image alone: the result has the image's size; resize the image`);
  for (const name of ["height", "width", "padding_mask_crop"] as const)
    if (values.maxSize !== undefined && values[camelCase(name) as "height" | "width" | "paddingMaskCrop"] !== undefined)
      throw usage(`give --max_size or --${name}, not both`);
  if (values.timesteps && values.sigmas) throw usage("give --timesteps or --sigmas, not both");
  if (values.clipSkip && values.promptWeighting !== "none")
    throw usage("--clip_skip and --prompt_weighting cannot be combined");
}
