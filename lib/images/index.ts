import { checkList, describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { checkLayout, type GridOptions, gridPixels, type ImageGridLayout, layoutPixels } from "./grid.js";
import type { LoadImageOptions } from "./load.js";
import { type ImageSource, RgbImage } from "./rgb-image.js";

export { decodesInProgress } from "./decoding.js";
export { type EncodeOptions, IMAGE_FORMATS, type ImageFormat, type ImageFormatAlias, imageFormatOf } from "./encode.js";
export type { GridOptions, ImageGridLayout } from "./grid.js";
export { type TransferOptions, transferEdit } from "./guided-transfer.js";
export type { LoadImageOptions } from "./load.js";
export { RESAMPLE_FILTERS, type ResampleFilter } from "./resize.js";
export { type ImageSource, RgbImage } from "./rgb-image.js";

/**
 * Reads an image as upright 8-bit RGB, with the pixels that diffusers' `load_image` gives: the EXIF orientation is
 * applied, alpha is dropped rather than blended, colour profiles and gamma are ignored, CMYK is converted without a
 * profile, and of several frames or pages the first counts. 16-bit samples keep their upper 8 bits, also grey ones,
 * which Pillow would clip to white.
 *
 * A Blob or File, as a form of a request has it, is read whole. A string is a path, or a URL if it begins with http://, https://, file:// or data:. PNG, JPEG, WebP, GIF, TIFF and
 * AVIF are read, and what else the installed sharp decodes; SVG and PDF are refused. A sharp instance is rendered with
 * sharp's own rules, then turned upright. An RgbImage is returned as it is. TIFF colours other than grey, RGB, palettes,
 * CMYK and YCbCr are refused by name.
 *
 * Files are not trusted: before a decoder sees one, it is cut down to its first image, or refused, in linear time.
 * Refused are more than 500 scans or 2³² scanned pixels of a JPEG, 10,000 segments of a JPEG or extension blocks of a
 * GIF, 100,000 chunks of a PNG besides its pixels, pixels of a PNG that expand to more than its size, 20,000 frames of a
 * WebP, 4,096 tags, 8 samples per pixel or a million strips of a TIFF, 10,000 boxes or 1,000 items of an AVIF, and 1 MiB
 * of EXIF or of XMP data. The promise settles at `timeoutMs` and at an abort whatever the decoder does; one that cannot
 * be stopped keeps its place, of which each JavaScript thread has one fewer than libuv has threads
 * (`UV_THREADPOOL_SIZE`, default 4), and is counted by {@link decodesInProgress} until it ends.
 *
 * @throws `ERR_FILE_NOT_FOUND`; `ERR_IMAGE` for anything that is not a whole, valid image within the limits;
 *   `ERR_DOWNLOAD` if a URL cannot be fetched or must not be; `ERR_INVALID_ARGUMENT`; `ERR_ABORTED`.
 *
 * @example
 * ```js
 * import { loadImage } from "instruct-pix2pix";
 *
 * const image = await loadImage("photo.jpg");
 * console.log(image.width, image.height);
 * await (await image.resize(512, 512)).save("small.png");
 * ```
 */
export function loadImage(source: ImageSource, options: LoadImageOptions = {}): Promise<RgbImage> {
  return RgbImage.load(source, options);
}

/**
 * Puts images side by side, or in rows of `columns`; every cell is as large as the largest image.
 *
 * @throws `ERR_INVALID_ARGUMENT` for no images, or a column count or gap that is not a whole number.
 *
 * @example
 * ```js
 * import { imageGrid, loadImage } from "instruct-pix2pix";
 *
 * const image = await loadImage("photo.jpg");
 * await imageGrid([image, await image.resize(64, 64)], { gap: 8 }).save("grid.png");
 * ```
 */
export function imageGrid(images: readonly RgbImage[], options: GridOptions = {}): RgbImage {
  const { width, height, data } = gridPixels(images, options);
  return new RgbImage(width, height, data);
}

const LAYOUT = optionNames<ImageGridLayout>()({ rows: true, cols: true, resize: true });

/**
 * Puts images into rows and columns as diffusers' `make_image_grid` does: every cell is as large as the first image, the
 * background is black, and nothing is centred or scaled unless `resize` is given. {@link imageGrid} fits images of
 * different sizes.
 *
 * @throws `ERR_INVALID_ARGUMENT` if rows times columns is not the number of images, and for other bad arguments
 *
 * @example
 * ```js
 * import { loadImage, makeImageGrid } from "instruct-pix2pix";
 *
 * const image = await loadImage("photo.jpg");
 * await (await makeImageGrid([image, image], { rows: 1, cols: 2, resize: 256 })).save("grid.png");
 * ```
 */
export async function makeImageGrid(images: readonly RgbImage[], layout: ImageGridLayout): Promise<RgbImage> {
  const { rows, cols, resize } = checkOptions(layout, LAYOUT) as ImageGridLayout;
  for (const image of checkList(images, "images"))
    if (!(image instanceof RgbImage))
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `images must be a list of RgbImage, as loadImage gives them; it holds ${describe(image)}`,
      );
  checkLayout(images.length, { rows, cols, resize });
  const side = resize ?? undefined;
  const resized: RgbImage[] = [];
  for (const image of images) resized.push(side === undefined ? image : await image.resize(side, side, "bicubic"));
  const { width, height, data } = layoutPixels(resized, { rows, cols });
  return new RgbImage(width, height, data);
}
