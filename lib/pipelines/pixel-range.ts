import { InstructPix2PixError } from "../core/errors.js";
import type { DType, Tensor } from "../core/tensor.js";
import { warnOnce } from "../core/warn.js";

/** Tolerance for rounding outside of the range: bfloat16 has a precision of 1/256 near 1. */
const ROUNDING = 1 / 128;

const FLOATS: readonly DType[] = ["float32", "float64", "float16", "bfloat16"];

/**
 * Maps pixels from 0..1 to -1..1. As in diffusers, pixels with negative values are assumed to be in -1..1 already.
 *
 * @param pixels float32
 * @param dtype of the tensor that they were given as, in which they are computed
 * @param allowNonFinite takes NaN and infinity, and then any values beside them
 * @returns float32
 * @throws `ERR_INVALID_ARGUMENT` for values outside of both ranges
 */
export async function checkedPixels(pixels: Tensor, dtype: DType, allowNonFinite: boolean): Promise<Tensor> {
  const finite = !allowNonFinite || (await pixels.isFinite());
  const negative = finite && !(await isWithin(pixels, 0, Number.POSITIVE_INFINITY));
  const low = negative ? -1 : 0;
  if (finite && !(await isWithin(pixels, low - ROUNDING, 1 + ROUNDING)))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", await outside(pixels));
  if (negative) {
    warnOnce(
      "image is a tensor with negative values: it is assumed to be in -1..1, as in diffusers; pass values in 0..1",
    );
    return await pixels.clone();
  }
  using own = await pixels.to({ dtype: FLOATS.includes(dtype) ? dtype : "float32" });
  using doubled = await own.mul(2);
  using shifted = await doubled.sub(1);
  return await shifted.to({ dtype: "float32" });
}

async function outside(pixels: Tensor): Promise<string> {
  const bytes = await isWithin(pixels, 0, 255);
  const hint = bytes ? "divide pixels of 0..255 by 255" : "clamp or scale it";
  return `image is a tensor with values outside of 0..1 (and of -1..1): ${hint}`;
}

async function isWithin(tensor: Tensor, min: number, max: number): Promise<boolean> {
  using clamped = await tensor.clamp(min, max);
  return await clamped.equal(tensor);
}
