import { checkList, describe } from "./arguments.js";
import { InstructPix2PixError } from "./errors.js";

// Checks of shapes, dimensions and numbers that libtorch would refuse with a message of its own.

/** A tensor, as far as the checks look at it. */
interface Shaped {
  readonly shape: readonly number[];
  readonly device: string;
}

function refuse(problem: string): never {
  throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}

/** Checks that a tensor has a dimension; negative ones count from the end. */
export function checkDim(dim: unknown, { shape }: Pick<Shaped, "shape">): void {
  const rank = shape.length;
  if (!Number.isInteger(dim) || (dim as number) < -rank || (dim as number) >= Math.max(rank, 1))
    refuse(`dim must be a dimension of a tensor [${shape}], in ${-rank}..${rank - 1}, not ${describe(dim)}`);
}

export function checkReshape({ shape }: Pick<Shaped, "shape">, to: readonly number[]): void {
  const sizes = checkList(to, "shape");
  if (sizes.some((size) => !Number.isSafeInteger(size) || size < -1))
    refuse(`shape must be a list of sizes, one of them -1 at most, not [${sizes}]`);
  const open = sizes.filter((size) => size === -1).length;
  if (open > 1) refuse(`only one size can be -1, not ${open}: [${sizes}]`);
  const has = product(shape);
  const asked = product(sizes.filter((size) => size !== -1));
  if (open === 1 ? asked === 0 || has % asked !== 0 : has !== asked)
    refuse(`a tensor [${shape}] of ${has} elements cannot be reshaped to [${sizes}]`);
}

/** Checks that tensors can be joined: the same sizes but along one dimension. Empty lists are left to the addon. */
export function checkCat(tensors: readonly Shaped[], dim: number): void {
  const [first] = tensors;
  if (!first) return;
  checkDim(dim, first);
  const along = dim < 0 ? dim + first.shape.length : dim;
  const rest = ({ shape }: Shaped) => `${shape.length}: ${shape.filter((_, axis) => axis !== along)}`;
  const other = tensors.find((tensor) => rest(tensor) !== rest(first));
  if (other) refuse(`tensors [${first.shape}] and [${other.shape}] cannot be joined along dimension ${dim}`);
  for (const tensor of tensors) checkDevice(first, tensor);
}

/** Checks that two shapes can be broadcast: from the end, sizes are the same, or one of them is 1 or absent. */
export function checkBroadcast(a: Shaped, b: Shaped): void {
  const [left, right] = [a.shape.toReversed(), b.shape.toReversed()];
  const fits = left.every((size, i) => size === 1 || (right[i] ?? 1) === 1 || right[i] === size);
  if (!fits) refuse(`tensors [${a.shape}] and [${b.shape}] cannot be combined elementwise`);
  // A tensor without dimensions is a number, which may be elsewhere.
  if (left.length > 0 && right.length > 0) checkDevice(a, b);
}

function checkDevice(a: Shaped, b: Shaped): void {
  if (a.device !== b.device) refuse(`one tensor is on ${a.device}, another on ${b.device}: move one with to()`);
}

export function checkRepeat({ shape }: Pick<Shaped, "shape">, repeats: readonly number[]): void {
  const counts = checkList(repeats, "repeats");
  if (counts.length < shape.length) refuse(`repeats must hold ${shape.length} counts or more, for [${shape}]`);
  for (const count of counts) checkCount("repeats", count);
}

/** A whole number of at least 0. */
export function checkCount(name: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    refuse(`${name} must be a whole number that is not negative, not ${describe(value)}`);
}

export function checkRange(low: unknown, high: unknown): void {
  if (!Number.isInteger(low) || !Number.isInteger(high) || (low as number) >= (high as number))
    refuse(`low must be a whole number below high, not ${describe(low)} and ${describe(high)}`);
}

export function checkQuantile(q: unknown): void {
  if (typeof q !== "number" || !(q >= 0 && q <= 1)) refuse(`q must be in 0..1, not ${describe(q)}`);
}

const FLOATS: readonly string[] = ["float32", "float64", "bfloat16", "float16"];

/** Checks that a type, of draws or of a model's input, is one of floating point numbers; unknown ones are left to the addon. */
export function checkFloat(name: string, dtype: string): void {
  if (/^(u?int\d+|bool)$/.test(dtype)) refuse(`${name} must be of a type of ${FLOATS.join(", ")}, not ${dtype}`);
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1);
}
