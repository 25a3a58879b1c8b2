import type { ImageSize } from "../images/pixels.js";

/** The buckets of a dataset: rows of one bucket are trained on at one size, and together. */
export interface Buckets {
  /** The sizes of the buckets that have rows. */
  readonly sizes: readonly ImageSize[];
  /** The bucket of each row. */
  readonly of: Uint16Array;
}

/** How much longer or shorter than the resolution a side may be. */
const STRETCH = 2;

/**
 * The sizes that images may be resized to: sides are multiples of `step`, from half of the resolution to twice as much, and
 * for every width the height is the largest with no more pixels than the resolution's square has, so that none takes more memory
 * (as NovelAI describe it: "Improvements on Stable Diffusion", 2022).
 *
 * @param resolution in pixels
 * @param step in pixels; at most the resolution
 */
export function bucketSizes(resolution: number, step: number): ImageSize[] {
  const [least, most] = [resolution / STRETCH, resolution * STRETCH];
  const sizes: ImageSize[] = [];
  for (let width = Math.ceil(least / step) * step; width <= most; width += step) {
    const height = Math.min(Math.floor(resolution ** 2 / width / step), Math.floor(most / step)) * step;
    if (height >= least && height >= step) sizes.push({ width, height });
  }
  return sizes;
}

/**
 * Chooses for every image the size that is nearest to its proportions, by their logarithm; of two as near the one with more
 * pixels.
 *
 * @param images the sizes of all rows; undefined for one that cannot be read, which is as if it were a square
 */
export function bucketsOf(images: readonly (ImageSize | undefined)[], sizes: readonly ImageSize[]): Buckets {
  const used = new Map<ImageSize, number>();
  const of = Uint16Array.from(images, (image) => {
    const size = nearest(image ?? { width: 1, height: 1 }, sizes);
    const bucket = used.get(size) ?? used.size;
    used.set(size, bucket);
    return bucket;
  });
  return { sizes: [...used.keys()], of };
}

function nearest({ width, height }: ImageSize, sizes: readonly ImageSize[]): ImageSize {
  const wanted = Math.log(width / height);
  const distance = (size: ImageSize) => Math.abs(Math.log(size.width / size.height) - wanted);
  const area = (size: ImageSize) => size.width * size.height;
  return sizes.reduce((best, size) => {
    const nearer = distance(size) - distance(best);
    return nearer < -1e-9 || (nearer < 1e-9 && area(size) > area(best)) ? size : best;
  });
}

/** The rows of each bucket, in the dataset's order. */
export function rowsByBucket({ sizes, of }: Buckets): number[][] {
  const rows = sizes.map((): number[] => []);
  for (const [row, bucket] of of.entries()) rows[bucket]!.push(row);
  return rows;
}
