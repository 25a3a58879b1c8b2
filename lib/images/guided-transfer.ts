import { setImmediate as nextTurn } from "node:timers/promises";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { inSlices } from "./pixels.js";
import { RgbImage } from "./rgb-image.js";

/** How {@link transferEdit} fits colours. */
export interface TransferOptions {
  /** Pixels of the edited image on each side of the middle of a window. Default 3. */
  radius?: number;
  /** The variance of colours (of 0..1) below which a window is treated as even, and its mean is taken. Default 1e-4. */
  epsilon?: number;
}

const OPTIONS = optionNames<TransferOptions>()({ radius: true, epsilon: true });

/** Of each output channel: the factors of red, green and blue, and what is added. */
const COEFFICIENTS = 12;
/** Products of two channels of the guide: rr, rg, rb, gg, gb, bb. */
const PRODUCTS = [
  [0, 0],
  [0, 1],
  [0, 2],
  [1, 1],
  [1, 2],
  [2, 2],
] as const;

/** How many pixels of a plain conversion one takes here. */
const WORK_OF_FITTING = 64;
const WORK_OF_APPLYING = 8;

/**
 * Carries an edit that was made to a reduced copy of an image to the whole image, with all of its detail. In each window of the
 * reduced copy the edited colours are fitted as an affine function of the original ones, and these functions, averaged and
 * interpolated, are applied to the original's pixels: the guided filter with colours (He, Sun and Tang 2013,
 * https://doi.org/10.1109/TPAMI.2012.213) computed at the lower resolution (He and Sun 2015, https://arxiv.org/abs/1505.00996).
 *
 * What changes colours and light, everywhere or in parts of the image, comes out sharp; so do tints, darkness, and skies. What adds
 * or removes detail finer than a pixel of the edited image, such as snow, blur or a sketch, does not: there the original's
 * detail shows through. It computes on the calling thread, in turns with whatever else waits there.
 *
 * @param original the image at full size
 * @param edited the edit of a copy of it that was resized, with whatever proportions
 * @returns an image of the original's size
 * @throws `ERR_INVALID_ARGUMENT` for what is no RgbImage, and for bad options
 *
 * @example
 * ```js
 * import { builtInModel, InstructPix2PixPipeline, loadImage, transferEdit } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained(builtInModel);
 * const image = await loadImage("photo.jpg");
 * const { images } = await pipe.run({ image, prompt: "make it night", maxSize: 64, numInferenceSteps: 10 });
 * const large = await transferEdit(image, images[0]);
 * console.log(large.width === image.width);
 * pipe.dispose();
 * ```
 */
export async function transferEdit(
  original: RgbImage,
  edited: RgbImage,
  options: TransferOptions = {},
): Promise<RgbImage> {
  const { radius = 3, epsilon = 1e-4 } = checkOptions(options, OPTIONS) as TransferOptions;
  for (const [name, image] of Object.entries({ original, edited }))
    if (!(image instanceof RgbImage)) throw invalid(`${name} must be an RgbImage, as loadImage gives it`);
  if (!Number.isInteger(radius) || radius < 1 || radius > 1000)
    throw invalid("radius must be a whole number in 1..1000");
  if (!(epsilon > 0 && epsilon <= 1)) throw invalid("epsilon must be above 0 and at most 1");
  const { width, height } = edited;
  const guide = await original.resize(width, height, "lanczos");
  return await apply(original, await fitted(guide, edited, radius, epsilon), width, height);
}

function invalid(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}

/** The affine functions of all pixels: COEFFICIENTS planes of the reduced size. */
async function fitted(guide: RgbImage, edited: RgbImage, radius: number, epsilon: number): Promise<Float32Array[]> {
  const { width, height } = guide;
  const means = async (planes: Iterable<Float32Array>) => {
    const result: Float32Array[] = [];
    for (const plane of planes) {
      result.push(boxMean(plane, width, height, radius));
      await nextTurn();
    }
    return result;
  };
  const [from, to] = [planesOf(guide), planesOf(edited)];
  const [fromMean, toMean] = [await means(from), await means(to)];
  const squares = await means(products(PRODUCTS.map(([a, b]) => [from[a]!, from[b]!])));
  const shared = await means(products(to.flatMap((target) => from.map((source) => [source, target] as const))));

  const result = Array.from({ length: COEFFICIENTS }, () => new Float32Array(width * height));
  const solve = (i: number) => {
    // The covariances of the guide's channels, and the inverse of their matrix by its adjugate.
    const [rr, rg, rb, gg, gb, bb] = PRODUCTS.map(
      ([a, b], k) => squares[k]![i]! - fromMean[a]![i]! * fromMean[b]![i]! + (a === b ? epsilon : 0),
    ) as [number, number, number, number, number, number];
    const [c0, c1, c2] = [gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg];
    const determinant = rr * c0 + rg * c1 + rb * c2;
    const [d0, d1, e0] = [rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg];
    for (let c = 0; c < 3; c++) {
      const [x, y, z] = [0, 1, 2].map((k) => shared[3 * c + k]![i]! - fromMean[k]![i]! * toMean[c]![i]!) as [
        number,
        number,
        number,
      ];
      const a = [c0 * x + c1 * y + c2 * z, c1 * x + d0 * y + d1 * z, c2 * x + d1 * y + e0 * z];
      let offset = toMean[c]![i]!;
      for (let k = 0; k < 3; k++) {
        const factor = a[k]! / determinant;
        result[4 * c + k]![i] = factor;
        offset -= factor * fromMean[k]![i]!;
      }
      result[4 * c + 3]![i] = offset;
    }
  };
  await inSlices(
    width * height,
    (first, end) => {
      for (let i = first; i < end; i++) solve(i);
    },
    WORK_OF_FITTING,
  );
  return await means(result);
}

/** The products of pairs of planes, each made when it is asked for. */
function* products(pairs: Iterable<readonly [Float32Array, Float32Array]>): Generator<Float32Array> {
  for (const [a, b] of pairs) yield a.map((value, i) => value * b[i]!);
}

/** The channels of an image, in 0..1. */
function planesOf({ width, height, data }: RgbImage): [Float32Array, Float32Array, Float32Array] {
  const one = (c: number) => Float32Array.from({ length: width * height }, (_, i) => data[3 * i + c]! / 255);
  return [one(0), one(1), one(2)];
}

/** The mean of the window around each pixel, as far as it lies inside. */
function boxMean(plane: Float32Array, width: number, height: number, radius: number): Float32Array {
  const rows = new Float32Array(plane.length);
  for (let y = 0; y < height; y++) runningMean(plane, rows, y * width, 1, width, radius);
  const result = new Float32Array(plane.length);
  for (let x = 0; x < width; x++) runningMean(rows, result, x, width, height, radius);
  return result;
}

function runningMean(
  from: Float32Array,
  to: Float32Array,
  first: number,
  stride: number,
  length: number,
  radius: number,
): void {
  let [sum, count] = [0, 0];
  for (let i = -radius; i < length; i++) {
    if (i + radius < length) {
      sum += from[first + (i + radius) * stride]!;
      count++;
    }
    if (i - radius > 0) {
      sum -= from[first + (i - radius - 1) * stride]!;
      count--;
    }
    if (i >= 0) to[first + i * stride] = sum / count;
  }
}

/** Applies affine functions, interpolated between their pixels, to an image. */
async function apply(
  original: RgbImage,
  coefficients: Float32Array[],
  width: number,
  height: number,
): Promise<RgbImage> {
  const result = new Uint8ClampedArray(original.data.length);
  const columns = places(original.width, width);
  const rows = places(original.height, height);
  const line = new Float32Array(COEFFICIENTS * width);
  const applyToRow = (y: number) => {
    const [top, bottom, below] = [rows.before[y]! * width, rows.after[y]! * width, rows.weight[y]!];
    for (let k = 0; k < COEFFICIENTS; k++) {
      const plane = coefficients[k]!;
      for (let x = 0; x < width; x++)
        line[x * COEFFICIENTS + k] = plane[top + x]! * (1 - below) + plane[bottom + x]! * below;
    }
    for (let x = 0; x < original.width; x++) {
      const [left, right] = [columns.before[x]! * COEFFICIENTS, columns.after[x]! * COEFFICIENTS];
      const behind = columns.weight[x]!;
      const at = 3 * (y * original.width + x);
      const [r, g, b] = [original.data[at]!, original.data[at + 1]!, original.data[at + 2]!];
      for (let c = 0; c < 3; c++) {
        const [i, j] = [left + 4 * c, right + 4 * c];
        const before = line[i]! * r + line[i + 1]! * g + line[i + 2]! * b + 255 * line[i + 3]!;
        const after = line[j]! * r + line[j + 1]! * g + line[j + 2]! * b + 255 * line[j + 3]!;
        result[at + c] = before + (after - before) * behind;
      }
    }
  };
  await inSlices(
    original.height,
    (first, end) => {
      for (let y = first; y < end; y++) applyToRow(y);
    },
    WORK_OF_APPLYING * original.width,
  );
  return new RgbImage(original.width, original.height, new Uint8Array(result.buffer));
}

/** Between which pixels of the reduced side each pixel of the full side lies, and how near to the second. */
function places(full: number, reduced: number) {
  const before = new Int32Array(full);
  const after = new Int32Array(full);
  const weight = new Float32Array(full);
  for (let i = 0; i < full; i++) {
    const place = Math.min(Math.max(((i + 0.5) * reduced) / full - 0.5, 0), reduced - 1);
    before[i] = Math.floor(place);
    after[i] = Math.min(before[i]! + 1, reduced - 1);
    weight[i] = place - before[i]!;
  }
  return { before, after, weight };
}
