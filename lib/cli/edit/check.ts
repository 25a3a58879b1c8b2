import { checkMaxSizeValue, checkPictureValues, usage } from "../pictures/check.js";
import { checkXLValues, refuseXLValues } from "../pictures/xl-options.js";
import type { EditValues } from "./options.js";

/** @throws `ERR_USAGE` for options that do not go together */
export function checkEditValues(values: EditValues): void {
  checkPictureValues(values);
  checkXLValues(values);
  checkMaxSizeValue(values.maxSize);
  for (const name of ["height", "width"] as const)
    if (values.maxSize !== undefined && values[name] !== undefined)
      throw usage(`give --max_size or --${name}, not both`);
}

/** @throws `ERR_USAGE` for options that models of Stable Diffusion do not take */
export function checkStableDiffusionEdit(values: EditValues): void {
  refuseXLValues(values);
  const { guidanceRescale, height, width } = values;
  for (const [name, value] of Object.entries({ guidance_rescale: guidanceRescale, height, width }))
    if (value !== undefined) throw usage(`--${name} is for Stable Diffusion XL, but the model is of another family`);
}
