import { checkPictureValues, usage } from "../pictures/check.js";
import type { UpscaleValues } from "./options.js";

/** @throws `ERR_USAGE` for options that do not go together */
export function checkUpscaleValues(values: UpscaleValues): void {
  checkPictureValues({ ...values, config: undefined });
  if (values.scale === "2") {
    const { noiseLevel, clipSkip, promptWeighting, numImagesPerPrompt, eta } = values;
    const unused = {
      noise_level: noiseLevel !== undefined,
      clip_skip: clipSkip !== undefined,
      prompt_weighting: promptWeighting !== "none",
      num_images_per_prompt: numImagesPerPrompt !== 1,
      eta: eta !== 0,
    };
    for (const [name, given] of Object.entries(unused))
      if (given) throw usage(`--${name} is for --scale 4: the latent upscaler has no such option`);
  }
  if (values.clipSkip && values.promptWeighting !== "none")
    throw usage("--clip_skip and --prompt_weighting cannot be combined");
  for (const name of ["tileSize", "tileOverlap"] as const)
    if (values[name] !== undefined && !values.tile)
      throw usage(`--${name === "tileSize" ? "tile_size" : "tile_overlap"} is for tiles: give --tile too`);
}
