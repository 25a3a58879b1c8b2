import { optionNames } from "../../core/known-options.js";
import type { Tensor } from "../../core/tensor.js";
import type { PipelineImage } from "../image-input.js";
import { MAX_SIZE_OPTIONS, type MaxSizeOptions } from "../max-size.js";

/** What every inpainting pipeline is given to paint in. */
export interface InpaintPictureOptions extends MaxSizeOptions {
  /** The picture to paint in, several, or a tensor [B,3,H,W] in 0..1; resized to `height` and `width`. */
  image: PipelineImage;
  /**
   * White where the picture is painted anew, black where it stays: a picture, several, or a tensor [H,W], [B,H,W] or
   * [B,1,H,W] in 0..1; resized to `height` and `width`. Values from 0.5 on count as white. Alpha does not count.
   */
  maskImage: PipelineImage;
  /**
   * The picture without the masked part, for UNets that take it: scaled latents [B,C,h,w] instead of encoding them, or pixels
   * [B,3,H,W] in -1..1. Other UNets do without it.
   */
  maskedImageLatents?: Tensor | undefined;
  /**
   * Paints only the part of the picture around the mask, at `height` and `width`, and puts it back into the picture, which
   * keeps its size: the margin around the mask in pixels. For one picture with one mask of its size, and pictures as results.
   * Default: the whole picture is resized and painted.
   */
  paddingMaskCrop?: number | null | undefined;
  /**
   * Pixels, a multiple of the autoencoder's factor. Default the UNet's `sample_size` times that, whatever the picture's; with
   * `maxSize` the picture decides, and the mask is resized with it.
   */
  height?: number | undefined;
  /** Likewise. */
  width?: number | undefined;
}

/** The names of {@link InpaintPictureOptions}. */
export const INPAINT_PICTURE_OPTIONS = optionNames<InpaintPictureOptions>()({
  image: true,
  maskImage: true,
  maskedImageLatents: true,
  paddingMaskCrop: true,
  height: true,
  width: true,
  ...MAX_SIZE_OPTIONS,
});
