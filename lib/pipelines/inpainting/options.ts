import { optionNames } from "../../core/known-options.js";
import type { Tensor } from "../../core/tensor.js";
import type { PipelineImage } from "../image-input.js";
import { MAX_SIZE_OPTIONS, type MaxSizeOptions } from "../max-size.js";

/** What every inpainting pipeline is given to paint in. */
export interface InpaintImageOptions extends MaxSizeOptions {
  /** The image to paint in, several, or a tensor [B,3,H,W] in 0..1; resized to `height` and `width`. */
  image: PipelineImage;
  /**
   * White where the image is painted anew, black where it stays: an image, several, or a tensor [H,W], [B,H,W] or
   * [B,1,H,W] in 0..1; resized to `height` and `width`. Values from 0.5 on count as white. Alpha does not count.
   */
  maskImage: PipelineImage;
  /**
   * The image without the masked part, for UNets that take it: scaled latents [B,C,h,w] instead of encoding them, or pixels
   * [B,3,H,W] in -1..1. Other UNets do without it.
   */
  maskedImageLatents?: Tensor | undefined;
  /**
   * Paints only the part of the image around the mask, at `height` and `width`, and puts it back into the image, which
   * keeps its size: the margin around the mask in pixels. For one image with one mask of its size, and images as results.
   * Default: the whole image is resized and painted.
   */
  paddingMaskCrop?: number | null | undefined;
  /**
   * Pixels, a multiple of the autoencoder's factor. Default the UNet's `sample_size` times that, whatever the image's; with
   * `maxSize` the image decides, and the mask is resized with it.
   */
  height?: number | undefined;
  /** Likewise. */
  width?: number | undefined;
}

/** The names of {@link InpaintImageOptions}. */
export const INPAINT_PICTURE_OPTIONS = optionNames<InpaintImageOptions>()({
  image: true,
  maskImage: true,
  maskedImageLatents: true,
  paddingMaskCrop: true,
  height: true,
  width: true,
  ...MAX_SIZE_OPTIONS,
});
