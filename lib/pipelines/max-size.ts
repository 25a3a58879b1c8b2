import { InstructPix2PixError } from "../core/errors.js";
import { optionNames } from "../core/known-options.js";
import { Tensor } from "../core/tensor.js";
import { type ImageSource, loadImage } from "../images/index.js";
import { MAX_SIDE, sizeWithin } from "../images/resize.js";
import type { AutoencoderKL } from "../models/autoencoder_kl.js";
import { checkImages, type PipelineImage, partsOf } from "./image-input.js";
import { checkCount } from "./options.js";

/** The option of pipelines that take images of any size. */
export interface MaxSizeOptions {
  /**
   * Pixels of the longer side: larger images are resized to it, keeping their proportions, with both sides rounded to what
   * the model takes. Smaller images are not enlarged, and latents are used unchanged. Default: images are not resized,
   * as in diffusers; a photo of a phone then takes minutes and more memory than most machines have.
   */
  maxSize?: number | null | undefined;
}

/** The name of {@link MaxSizeOptions}. */
export const MAX_SIZE_OPTIONS = optionNames<MaxSizeOptions>()({ maxSize: true });

/** Options that say a size too, and cannot be combined with `maxSize`. */
interface OtherSizes {
  height?: unknown;
  width?: unknown;
  paddingMaskCrop?: unknown;
}

/**
 * Validates the option.
 *
 * @param factor pixels per latent, which is the least size
 * @throws `ERR_INVALID_ARGUMENT`
 */
export function checkMaxSize(options: MaxSizeOptions & OtherSizes, factor: number): number | undefined {
  const maxSize = options.maxSize ?? undefined;
  if (maxSize === undefined) return undefined;
  checkCount("maxSize", maxSize, MAX_SIDE);
  if (maxSize < factor)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `maxSize must be at least ${factor}, the pixels of one latent, not ${maxSize}`,
    );
  for (const name of ["height", "width", "paddingMaskCrop"] as const)
    if (options[name] !== undefined && options[name] !== null)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `give maxSize or ${name}, not both`);
  return maxSize;
}

/**
 * The size that `maxSize` gives the images of a call, for pipelines that take one by `height` and `width`: that of the
 * first image, which is read for it.
 *
 * @returns the images, of which the first one is read now
 */
export async function fittedPicture(
  { image, vae, signal }: { image: PipelineImage; vae: AutoencoderKL; signal: AbortSignal | undefined },
  maxSize: number,
): Promise<{ image: PipelineImage; size: { height: number; width: number } }> {
  const { scaleFactor } = vae;
  const [first, ...others] = partsOf("image", image);
  if (first instanceof Tensor) {
    const { latents } = checkImages(image, { latentChannels: vae.config.latent_channels });
    const [height, width] = first.shape.slice(-2) as [number, number];
    if (latents) return { image, size: { height: height * scaleFactor, width: width * scaleFactor } };
    return { image, size: sizeWithin({ height, width }, maxSize, scaleFactor) };
  }
  const picture = await loadImage(first as ImageSource, { signal });
  const size = sizeWithin(picture, maxSize, scaleFactor);
  return { image: Array.isArray(image) ? ([picture, ...others] as PipelineImage) : picture, size };
}
