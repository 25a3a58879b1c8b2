import { camelCase } from "../../options/names.js";
import { usage } from "../pictures/check.js";
import { xlOptions } from "../pictures/xl-options.js";
import { controlOptions } from "./control-options.js";
import { type GenerateValues, generateOptions } from "./options.js";

/** What the pipelines of Kandinsky 2.2 do not have. */
const NOT_TAKEN = [
  ...["prompt_weighting", "clip_skip", "guidance_start", "guidance_end", "guidance_rescale", "deep_cache_interval"],
  ...["timesteps", "sigmas", "padding_mask_crop", "config", "vae_dtype", "vae_slicing", "vae_tiling"],
  ...["negative_original_size", "negative_crops_coords_top_left", "negative_target_size"],
  ...["aesthetic_score", "negative_aesthetic_score", "lora", ...Object.keys(xlOptions)],
  ...Object.keys(controlOptions),
] as readonly (keyof typeof generateOptions)[];

/** @throws `ERR_USAGE` for options that models of Kandinsky 2.2 do not take */
export function checkKandinskyValues(values: GenerateValues): void {
  for (const name of NOT_TAKEN) {
    const declaration: { type: string; default?: unknown } = generateOptions[name];
    const unset = declaration.default ?? (declaration.type === "boolean" ? false : undefined);
    if (values[camelCase(name) as keyof GenerateValues] !== unset)
      throw usage(`--${name} is not for Kandinsky 2.2, which the model is of`);
  }
  if (values.mask !== undefined && values.strength !== undefined)
    throw usage("--strength does not go with --mask for Kandinsky 2.2, which paints the masked part wholly anew");
}
