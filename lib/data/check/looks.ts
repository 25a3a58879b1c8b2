import type { RgbImage } from "../../images/index.js";

const SIDE = 16;

/** What an image looks like: itself at 16×16 pixels as RGB, in which another size and stronger compression change little. */
export type Looks = Uint8Array;

/** Computes the looks of an image, whatever its size. */
export async function looksOf(image: RgbImage): Promise<Looks> {
  const small = image.toSharp().resize(SIDE, SIDE, { fit: "fill", kernel: "linear" }).removeAlpha();
  return new Uint8Array(await small.raw({ depth: "uchar" }).toBuffer());
}

/** Levels, of 256, by which looks differ at most where two images are alike: on average, and anywhere. */
const MEAN_DIFFERENCE = 2.5;
const LARGEST_DIFFERENCE = 28;

/** Whether two images can hardly be told apart. */
export function isAlike(a: Looks, b: Looks): boolean {
  const most = MEAN_DIFFERENCE * a.length;
  let sum = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    sum += difference;
    if (difference > LARGEST_DIFFERENCE || sum > most) return false;
  }
  return true;
}

/** The mean brightness of a quarter differs by at most this between images that are alike. */
const STEP = 4 * MEAN_DIFFERENCE;
const STEPS = Math.ceil(256 / STEP) + 2;

/** The place of looks among others: those that are alike have the same place, or neighbouring ones. */
export function placeOf(looks: Looks): number {
  return quarters(looks).reduce((place, mean) => place * STEPS + Math.floor(mean / STEP) + 1, 0);
}

/** A place and its neighbours. */
export const AROUND: readonly number[] = [0, 1, 2, 3].reduce(
  (places: number[], quarter) => places.flatMap((place) => [-1, 0, 1].map((by) => place + by * STEPS ** quarter)),
  [0],
);

function quarters(looks: Looks): number[] {
  const sums = [0, 0, 0, 0];
  const half = SIDE / 2;
  for (let i = 0; i < looks.length; i++) {
    const [x, y] = [Math.floor(i / 3) % SIDE, Math.floor(i / 3 / SIDE)];
    sums[(y < half ? 0 : 2) + (x < half ? 0 : 1)]! += looks[i]!;
  }
  return sums.map((sum) => sum / (half * half * 3));
}
