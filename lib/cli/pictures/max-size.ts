import type { PipelineConfigs } from "../../components/description.js";
import { sizeForFactor, sizeWithin } from "../../images/resize.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import type { StableDiffusionComponents } from "../../pipelines/components.js";
import { latentsOf, unetWork } from "../../pipelines/footprint.js";
import { trainedSize } from "../../pipelines/size.js";

import { sizeText } from "./stretching.js";

type Size = { width: number; height: number };

/** What becomes of an image: its size in pixels, and the option of the run that says it. */
export interface FittedSize {
  size: Size;
  maxSize: number | undefined;
}

interface FittedModels extends Pick<PipelineConfigs<StableDiffusionComponents>, "unet"> {
  vae: Parameters<typeof latentsOf>[1];
  /** What both edges are multiples of; by default the autoencoder's factor. */
  multiple?: number;
}

/**
 * Decides on the size at which an image is computed, and tells the user if it is another one, or takes long.
 *
 * @param value of `--max_size`
 * @param tell prints a line
 * @throws `ERR_IMAGE` for an image that is too small
 */
export function fitPicture(
  picture: Size,
  value: string | undefined,
  { unet, vae, multiple = scaleFactorOf(vae) }: FittedModels,
  tell: (line: string) => void,
): FittedSize {
  const factor = scaleFactorOf(vae);
  const own = trainedSize({ unet: { config: unet }, vae: { scaleFactor: factor } });
  const longest = own && Math.max(own.width, own.height);
  const maxSize = value === "none" ? undefined : value === undefined ? longest : Math.max(multiple, Number(value));
  const size = maxSize === undefined ? sizeForFactor(picture, multiple) : sizeWithin(picture, maxSize, multiple);
  const reduced = maxSize !== undefined && Math.max(picture.width, picture.height) > maxSize;
  if (value === undefined && reduced)
    tell(
      `the image of ${sizeText(picture)} pixels is resized to ${sizeText(size)}, what the model was trained for; --max_size says another size, --max_size none keeps all`,
    );
  if (own && size.width * size.height > own.width * own.height) {
    const times = unetWork(unet, latentsOf(size, vae)) / unetWork(unet, latentsOf(own, vae));
    if (times >= 2)
      tell(`a step at ${sizeText(size)} pixels takes about ${Math.round(times)} times as long as at ${sizeText(own)}`);
  }
  return { size, maxSize };
}
