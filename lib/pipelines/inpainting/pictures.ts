import { describe } from "../../core/arguments.js";
import { Tensor } from "../../core/tensor.js";
import { type Box, crop, fitWithin } from "../../images/fit.js";
import { type LoadImageOptions, loadStored } from "../../images/load.js";
import { type ImageSource, RgbImage } from "../../images/rgb-image.js";
import type { StoredPixels } from "../../images/stored.js";
import { type PipelineImage, partsOf } from "../image-input.js";
import { type MaskPart, maskShape } from "../mask.js";
import { checkMaskSize, cropRegion, overlaid } from "../mask-crop.js";
import { refuseArgument } from "../options.js";
import type { ImagesResult, OutputType } from "../run-options.js";
import type { InpaintPicturesCall } from "./call.js";

/** What a call of inpainting gives to paint in. */
export interface InpaintPictures {
  image: PipelineImage;
  masks: readonly MaskPart[];
  /** With `paddingMaskCrop`: what the result is put back into. */
  overlay: { original: StoredPixels; mask: StoredPixels; region: Box } | undefined;
}

type ReadCall = Pick<InpaintPicturesCall, "image" | "maskImage" | "size" | "paddingMaskCrop"> & {
  signal: AbortSignal | undefined;
};

/** The number of masks. Throws for tensors of another shape. */
export function countMasks(maskImage: PipelineImage): number {
  return partsOf("maskImage", maskImage).reduce(
    (sum, part) => sum + (part instanceof Tensor ? maskShape(part)[0]! : 1),
    0,
  );
}

/**
 * Validates the option: the part to paint is cut out of one image by one mask, and the result is put back into it.
 *
 * @returns undefined if it is left out
 */
export function checkPaddingMaskCrop(
  padding: unknown,
  { image, maskImage }: Pick<InpaintPicturesCall, "image" | "maskImage">,
  outputType: OutputType,
): number | undefined {
  if (padding === undefined || padding === null) return undefined;
  if (!Number.isSafeInteger(padding) || (padding as number) < 0)
    refuseArgument("paddingMaskCrop", padding, "a whole number of pixels, or left out");
  for (const [name, given] of Object.entries({ image, maskImage })) {
    const parts = Array.isArray(given) ? given : [given];
    if (parts.length !== 1 || parts[0] instanceof Tensor)
      refuseArgument(
        name,
        Array.isArray(given) ? `${given.length}` : describe(given),
        "one image with paddingMaskCrop",
      );
  }
  if (outputType !== "image") refuseArgument("outputType", outputType, '"image" with paddingMaskCrop');
  return padding as number;
}

/** Reads masks, and the image too if a part of it is to be cut out. */
export async function readPictures(call: ReadCall): Promise<InpaintPictures> {
  const options = call.signal ? { signal: call.signal } : {};
  if (call.paddingMaskCrop !== undefined) return await cutOut(call, call.paddingMaskCrop, options);
  const masks: MaskPart[] = [];
  for (const part of partsOf("maskImage", call.maskImage))
    masks.push(part instanceof Tensor ? part : await stored(part, options));
  return { image: call.image, masks, overlay: undefined };
}

async function cutOut(
  { image, maskImage, size }: ReadCall,
  padding: number,
  options: LoadImageOptions,
): Promise<InpaintPictures> {
  const original = await stored(partsOf("image", image)[0] as ImageSource, options);
  const mask = await stored(partsOf("maskImage", maskImage)[0] as ImageSource, options);
  checkMaskSize(original, mask);
  const region = cropRegion(mask, size, padding);
  const fitted = (picture: StoredPixels) => fitWithin(crop(picture, region), size.width, size.height);
  const { width, height, data } = await fitted(original);
  const overlay = { original, mask, region };
  return { image: new RgbImage(width, height, data), masks: [await fitted(mask)], overlay };
}

async function stored(source: ImageSource, options: LoadImageOptions): Promise<StoredPixels> {
  return source instanceof RgbImage ? { ...source, form: "colour" } : await loadStored(source, options);
}

/** The results, put back into the image that they were cut from if they were. */
export async function withOverlay<T extends OutputType>(
  result: ImagesResult<T>,
  { overlay }: Pick<InpaintPictures, "overlay">,
): Promise<ImagesResult<T>> {
  if (!overlay) return result;
  const images = await Promise.all((result.images as RgbImage[]).map((painted) => overlaid(painted, overlay)));
  return { ...result, images: images as ImagesResult<T>["images"] };
}
