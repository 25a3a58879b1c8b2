import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { disposeAll, Tensor } from "../core/tensor.js";
import { warnOnce } from "../core/warn.js";
import {
  type ImageSource,
  type LoadImageOptions,
  loadImage,
  type ResampleFilter,
  type RgbImage,
} from "../images/index.js";
import { resizePixels, sizeForFactor, sizeWithin } from "../images/resize.js";
import { native } from "../runtime/native.js";
import { givenNotFinite } from "./finite.js";
import { checkedPixels } from "./pixel-range.js";

/**
 * An image, several, or tensors: pixels [B,3,H,W] or [3,H,W] in 0..1, or image latents [B,C,h,w] or [C,h,w]. Pixels
 * with negative values are assumed to be in -1..1, as in diffusers.
 */
export type PipelineImage = ImageSource | readonly ImageSource[] | Tensor | readonly Tensor[];

export interface ImageInputOptions extends Pick<LoadImageOptions, "signal"> {
  /** What both sides of pixels become multiples of: mostly the pixels per latent along an edge. */
  factor: number;
  /** A tensor with this many channels holds latents. */
  latentChannels: number;
  /** Allows NaN and infinity in tensors. */
  allowNonFinite: boolean;
  /** The size of the pixels, rounded down to multiples of `factor`. Default, also of one side, that of the first image. */
  size?: PartialSize | undefined;
  /** How images are resized. Default Lanczos. */
  filter?: ResampleFilter | undefined;
  /** First reduces images by whole factors; see `resizePixels`. Default false. */
  reducing?: boolean | undefined;
  /** Pixels of the longer side at most, where no `size` is given. */
  maxSize?: number | undefined;
}

/** A size of which a side may be left to the image. */
export interface PartialSize {
  height?: number | undefined;
  width?: number | undefined;
}

/** Pixels for the autoencoder, or latents that need no encoding. */
export type ImageInput = { pixels: Tensor } | { latents: Tensor };

/**
 * Preprocesses images for an autoencoder: float32 [B,3,H,W] in -1..1, each side a multiple of `factor`.
 *
 * Images are resized as Pillow does it, all of them to the size of the first, rounded down or, with `maxSize`, reduced;
 * tensors by nearest neighbour, both as in diffusers. Latents are unchanged.
 *
 * @throws what {@link loadImage} throws, `ERR_IMAGE` for an image smaller than `factor`, `ERR_INVALID_ARGUMENT` for a
 *   tensor of another shape, outside of 0..1 and -1..1, or with NaN or infinity
 */
export async function prepareImage(image: PipelineImage, options: ImageInputOptions): Promise<ImageInput> {
  const list = partsOf("image", image);
  checkImages(image, options);
  if (!list.some((part) => part instanceof Tensor)) {
    using unit = await picturePixels(list as readonly ImageSource[], options);
    using doubled = await unit.mul(2);
    return { pixels: await doubled.sub(1) };
  }
  using tensor = await oneTensor(list as readonly Tensor[]);
  if (!options.allowNonFinite && !(await tensor.isFinite())) throw givenNotFinite("image");
  return await fromTensor(tensor, options);
}

/** The images or tensors of an option. Throws for none. */
export function partsOf(name: string, given: PipelineImage): readonly (ImageSource | Tensor)[] {
  const list = (Array.isArray(given) ? given : [given]) as readonly (ImageSource | Tensor)[];
  if (list.length === 0) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} is an empty list`);
  return list;
}

/**
 * The number of images, and the size of latents; checked before anything is read or computed.
 *
 * @throws `ERR_INVALID_ARGUMENT` for tensors of another shape
 */
export function checkImages(
  image: PipelineImage,
  { latentChannels }: Pick<ImageInputOptions, "latentChannels">,
): { count: number; latents?: readonly [height: number, width: number] } {
  const shape = tensorShape("image", image);
  if (!shape) return { count: partsOf("image", image).length };
  const [count, C, H, W] = shape;
  const latents = C === latentChannels && C !== 3;
  if (!latents && C !== 3) throw badShape("image", shape);
  return latents ? { count, latents: [H, W] } : { count };
}

/**
 * The shape of an option's tensors as one batch, [B,C,H,W]; undefined for images.
 *
 * @throws `ERR_INVALID_ARGUMENT` for tensors of other or of several shapes
 */
export function tensorShape(name: string, image: PipelineImage): readonly [number, number, number, number] | undefined {
  const list = partsOf(name, image);
  if (!list.some((part) => part instanceof Tensor)) return undefined;
  const shapes = list.map((part) => {
    if (!(part instanceof Tensor))
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} holds tensors and ${describe(part)}`);
    return batchShape(name, part.shape);
  });
  const [first, ...others] = shapes.map(([, ...shape]) => shape.join());
  if (others.some((shape) => shape !== first))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} holds tensors of different shapes`);
  const [, C, H, W] = shapes[0]!;
  return [shapes.reduce((sum, [rows]) => sum + rows, 0), C, H, W];
}

/** [B,C,H,W] of that, or of [C,H,W]. */
function batchShape(name: string, shape: readonly number[]): readonly [number, number, number, number] {
  if ((shape.length !== 3 && shape.length !== 4) || shape.includes(0)) throw badShape(name, shape);
  return (shape.length === 3 ? [1, ...shape] : shape) as [number, number, number, number];
}

/** Images as float32 [B,3,H,W] in 0..1, resized as {@link prepareImage} does it. */
export async function picturePixels(
  sources: readonly ImageSource[],
  options: Pick<ImageInputOptions, "factor" | "size" | "filter" | "reducing" | "maxSize" | "signal">,
): Promise<Tensor> {
  const { size, filter = "lanczos", reducing, signal } = options;
  const pictures: RgbImage[] = [];
  for (const source of sources) pictures.push(await loadImage(source, { signal }));
  const target = targetSize(pictures[0]!, options);
  if (size?.height === undefined || size.width === undefined) warnOfSizes(pictures);
  const rows: Tensor[] = [];
  try {
    for (const picture of pictures) {
      const { data, width, height } = await resizePixels(picture, target.width, target.height, filter, reducing);
      rows.push(new Tensor(await native().pictureToTensor(data, width, height)));
    }
    return await Tensor.cat(rows, 0);
  } finally {
    disposeAll(...rows);
  }
}

/** The size to resize to, of what has this size. */
function targetSize(
  own: { width: number; height: number },
  { factor, size, maxSize }: Pick<ImageInputOptions, "factor" | "size" | "maxSize">,
): { width: number; height: number } {
  if (size !== undefined || maxSize === undefined) return sizeForFactor(sizeOr(size, own), factor);
  return sizeWithin(own, maxSize, factor);
}

function sizeOr({ height, width }: PartialSize = {}, own: { height: number; width: number }) {
  return { height: height ?? own.height, width: width ?? own.width };
}

/** Several images make one batch, which has one size. */
function warnOfSizes(pictures: readonly RgbImage[]): void {
  const [first, ...others] = [...new Set(pictures.map(({ width, height }) => `${width}×${height}`))];
  if (others.length > 0)
    warnOnce(`images of ${others.join(", ")} pixels are resized to the size of the first, ${first}, without cutting`);
}

/** All tensors as one [B,C,H,W]. */
export async function oneTensor(list: readonly Tensor[]): Promise<Tensor> {
  const batches: Tensor[] = [];
  try {
    for (const part of list) batches.push(await part.reshape(batchShape("image", part.shape)));
    return await Tensor.cat(batches, 0);
  } finally {
    disposeAll(...batches);
  }
}

async function fromTensor(image: Tensor, options: ImageInputOptions): Promise<ImageInput> {
  const { latentChannels, allowNonFinite } = options;
  const [, C, H, W] = image.shape as [number, number, number, number];
  if (C === latentChannels && C !== 3) return { latents: await image.clone() };
  using resized = await resizedNearest(image, targetSize({ height: H, width: W }, options));
  return { pixels: await checkedPixels(resized, image.dtype, allowNonFinite) };
}

/** A tensor of images as float32 of another size. */
export async function resizedNearest(image: Tensor, { height, width }: { height: number; width: number }) {
  using float = await image.to({ dtype: "float32" });
  return new Tensor(await native().resizeNearest(float.handle, height, width));
}

function badShape(name: string, shape: readonly number[]): InstructPix2PixError {
  return new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `${name} must be [B,3,H,W], or latents [B,C,h,w], not [${shape}]`,
  );
}
