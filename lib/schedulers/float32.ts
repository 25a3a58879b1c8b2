// diffusers computes its tables with float32 tensors, and differences of nearly equal numbers (1 − ᾱ at small t,
// λ_t − λ_s between close steps) keep those roundings. These helpers round where torch and NumPy round.

/** Rounds to the nearest float32. */
export const f32 = Math.fround;

/** `a·b + c` with one rounding: the product of two float32 is exact in a double. */
export const fma32 = (a: number, b: number, c: number): number => f32(a * b + c);

export const sqrt32 = (x: number): number => f32(Math.sqrt(x));
export const log32 = (x: number): number => f32(Math.log(x));
export const exp32 = (x: number): number => f32(Math.exp(x));
export const expm1_32 = (x: number): number => f32(Math.expm1(x));

/**
 * `torch.linspace(start, end, count)` in float32: counted from the nearer end, each element one fused multiply-add.
 */
export function linspace32(start: number, end: number, count: number): Float32Array {
  const first = f32(start);
  const last = f32(end);
  const out = new Float32Array(count);
  if (count === 1) {
    out[0] = first;
    return out;
  }
  const step = f32(f32(last - first) / f32(count - 1));
  const half = Math.floor(count / 2);
  for (let i = 0; i < count; i++) out[i] = i < half ? fma32(step, i, first) : fma32(-step, count - 1 - i, last);
  return out;
}

// NumPy's rational approximation of log(1 + y) for y in √½ − 1 … √2 − 1, highest power first.
const LOG_P = [0.0258997912, 0.380883774, 1.48000063, 2.11267754, 1, 0].map(f32);
const LOG_Q = [0.0058750954, 0.15464764, 0.986494296, 2.45300607, 2.61267754, 1].map(f32);
const LN2 = f32(Math.LN2);
const SQRT_HALF = f32(Math.SQRT1_2);

/**
 * NumPy's vectorised float32 logarithm, to the bit. It is up to 4 units off in the last place, and fractional timesteps
 * are interpolated between neighbouring logarithms, where that shows.
 */
export function numpyLog32(x: number): number {
  if (!(x > 0) || x === Infinity || x < 2 ** -126) return f32(Math.log(x));
  let exponent = Math.floor(Math.log2(x)) + 1;
  let mantissa = x / 2 ** exponent;
  if (mantissa >= 1) {
    exponent += 1;
    mantissa /= 2;
  } else if (mantissa < 0.5) {
    exponent -= 1;
    mantissa *= 2;
  }
  if (mantissa <= SQRT_HALF) {
    mantissa *= 2;
    exponent -= 1;
  }
  const y = f32(mantissa - 1);
  const horner = (coefficients: number[]) => coefficients.reduce((sum, coefficient) => fma32(sum, y, coefficient));
  return fma32(exponent, LN2, f32(horner(LOG_P) / horner(LOG_Q)));
}

/** Rounds half to even, as `np.round` and `torch.round` do. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Rounds a coefficient to the precision of a tensor's dtype, for the places where diffusers converts it first. */
export function roundTo(dtype: string, x: number): number {
  if (dtype === "float64") return x;
  if (dtype === "bfloat16") return roundMantissa(f32(x), 8, -133);
  if (dtype === "float16") {
    const rounded = roundMantissa(f32(x), 11, -24);
    return Math.abs(rounded) > 65504 ? Math.sign(rounded) * Infinity : rounded;
  }
  return f32(x);
}

/** Keeps `bits` significant bits, with `minExponent` the exponent of the smallest subnormal. */
function roundMantissa(x: number, bits: number, minExponent: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))) + 1 - bits, minExponent);
  const unit = 2 ** exponent;
  return roundHalfEven(x / unit) * unit;
}
