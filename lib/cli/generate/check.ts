import { camelCase } from "../../options/names.js";
import { checkMaxSizeValue, checkPictureValues, usage } from "../pictures/check.js";
import type { GenerateValues } from "./options.js";

/** @throws `ERR_USAGE` for options that do not go together */
export function checkGenerateValues(values: GenerateValues): void {
  checkPictureValues(values);
  const { image, mask } = values;
  checkMaxSizeValue(values.maxSize);
  for (const [name, value] of Object.entries({ strength: values.strength, max_size: values.maxSize, mask }))
    if (value !== undefined && image === undefined) throw usage(`--${name} is for a picture: give --image too`);
  if (values.paddingMaskCrop !== undefined && mask === undefined)
    throw usage("--padding_mask_crop is for the masked part of a picture: give --mask too");
  for (const name of ["height", "width"] as const)
    if (values[name] !== undefined && image !== undefined && mask === undefined)
      throw usage(`--${name} does not go with --image alone: the result has the picture's size; resize the picture`);
  for (const name of ["height", "width", "padding_mask_crop"] as const)
    if (values.maxSize !== undefined && values[camelCase(name) as "height" | "width" | "paddingMaskCrop"] !== undefined)
      throw usage(`give --max_size or --${name}, not both`);
  if (values.guidanceRescale !== 0 && image !== undefined)
    throw usage("--guidance_rescale is for text alone: it does not go with --image");
  if (values.timesteps && values.sigmas) throw usage("give --timesteps or --sigmas, not both");
  if (values.clipSkip && values.promptWeighting !== "none")
    throw usage("--clip_skip and --prompt_weighting cannot be combined");
}
