import { inspect } from "node:util";
import type {
  BinaryOperation,
  DType,
  Float16Elements,
  NativeGenerator,
  NativeTensor,
  TensorData,
  UnaryOperation,
} from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";
import { checkList, describe } from "./arguments.js";
import { InstructPix2PixError } from "./errors.js";
import { Generator } from "./generator.js";
import { checkOptions, optionNames } from "./known-options.js";
import { listOfThisRealm, nameOfTypedArray, ofThisRealm, type TypedArray } from "./realm.js";
import {
  checkBroadcast,
  checkCat,
  checkCount,
  checkDim,
  checkFloat,
  checkQuantile,
  checkRange,
  checkRepeat,
  checkReshape,
} from "./tensor-checks.js";

export { DTYPES, type DType } from "../runtime/contract/index.js";

/** The element types models run in. */
export type ModelDType = "float32" | "bfloat16" | "float16";

/** Type and device of a new tensor. */
export interface TensorOptions {
  /** Default "float32". */
  dtype?: DType;
  /** "cpu" (default), "cuda" or "cuda:N". */
  device?: string;
}

/** Options of random tensors. */
export interface RandomOptions extends TensorOptions {
  /** One generator, or one for each row (index of the first dimension). */
  generator?: Generator | readonly Generator[];
}

const DTYPE_OPTION = optionNames<{ dtype?: DType }>()({ dtype: true });
const GENERATOR_OPTION = optionNames<{ generator?: Generator }>()({ generator: true });
const TENSOR_OPTIONS = optionNames<TensorOptions>()({ dtype: true, device: true });
const RANDOM_OPTIONS = optionNames<RandomOptions>()({ ...TENSOR_OPTIONS, generator: true });

/** Element types of typed arrays; by class name, since an array may be of another realm. */
const TYPE_OF_ARRAY: Readonly<Record<string, DType>> = {
  Float16Array: "float16",
  Float32Array: "float32",
  Float64Array: "float64",
  BigInt64Array: "int64",
  Int32Array: "int32",
  Int16Array: "int16",
  Int8Array: "int8",
  Uint8Array: "uint8",
  Uint8ClampedArray: "uint8",
};

/**
 * An n-dimensional libtorch array, on the CPU or on a CUDA device.
 *
 * Tensors are immutable from JavaScript. Every computation is queued on the worker thread of the tensor's device, in the
 * order of the calls, and resolves to a new tensor; operands are not modified. `dispose()` (or `using`) frees the
 * memory at once, garbage collection does so some time later. Using a disposed tensor throws `ERR_DISPOSED`; work
 * queued before the disposal is not affected.
 *
 * @example
 * ```js
 * import { Tensor } from "instruct-pix2pix";
 *
 * const ones = Tensor.from([1, 1, 1, 1], [2, 2]);
 * const halves = await ones.mul(0.5);
 * console.log(String(halves), await halves.toArray());
 * ones.dispose();
 * halves.dispose();
 * ```
 */
export class Tensor {
  readonly #handle: NativeTensor;

  /** @internal */
  constructor(handle: NativeTensor) {
    this.#handle = handle;
  }

  /** @internal The addon's handle. */
  get handle(): NativeTensor {
    return this.#handle;
  }

  /**
   * A CPU tensor with a copy of `data`, row-major.
   *
   * @param data a typed array, `Float16Array` included where there is one, or numbers (float32 unless `dtype` says otherwise)
   * @param shape sizes; their product is the number of elements. Default: one dimension.
   * @param options `dtype` converts; it defaults to the array's own type
   * @throws `ERR_INVALID_ARGUMENT` if data and shape disagree
   */
  static from(
    data: TensorData | Float16Elements | readonly number[],
    shape?: readonly number[],
    options?: { dtype?: DType },
  ): Tensor {
    const own = TYPE_OF_ARRAY[nameOfTypedArray(data) ?? ""];
    const array = own === undefined ? fromNumbers(data as readonly number[]) : handedOver(data as TypedArray);
    const dtype = checkOptions(options, DTYPE_OPTION).dtype ?? own ?? "float32";
    return new Tensor(native().tensorFromData(array, dtype, shape ?? [array.length]));
  }

  /** A tensor filled with one value. */
  static async full(shape: readonly number[], value: number, options?: TensorOptions): Promise<Tensor> {
    const { dtype = "float32", device = "cpu" } = checkOptions(options, TENSOR_OPTIONS);
    return new Tensor(await native().full(shape, value, dtype, device));
  }

  /** A tensor of zeros. */
  static zeros(shape: readonly number[], options?: TensorOptions): Promise<Tensor> {
    return Tensor.full(shape, 0, options);
  }

  /**
   * Standard normal draws. With a CPU generator the numbers are the same on every device, as in diffusers'
   * `randn_tensor`; a list of generators draws row by row; without a generator libtorch's default generator is used.
   */
  static async randn(shape: readonly number[], options?: RandomOptions): Promise<Tensor> {
    const { dtype = "float32", device = "cpu", generator } = checkOptions(options, RANDOM_OPTIONS);
    checkFloat("dtype", dtype);
    if (Array.isArray(generator) && generator.length !== 1) return drawRows(shape, generator, { dtype, device });
    const one = generatorHandle(Array.isArray(generator) ? generator[0] : generator);
    return new Tensor(await native().randn(shape, dtype, device, one));
  }

  /** Draws from [0, 1). See {@link Tensor.randn}. */
  static async rand(shape: readonly number[], options?: TensorOptions & { generator?: Generator }): Promise<Tensor> {
    const { dtype = "float32", device = "cpu", generator } = checkOptions(options, RANDOM_OPTIONS);
    checkFloat("dtype", dtype);
    return new Tensor(await native().rand(shape, dtype, device, generatorHandle(generator)));
  }

  /**
   * Standard normal draws of a tensor's shape, type and device. As with torch's `randn_like` the numbers also depend on
   * the tensor's memory layout, which results from the computation that produced it.
   */
  static async randnLike(tensor: Tensor, options?: { generator?: Generator }): Promise<Tensor> {
    const generator = generatorHandle(checkOptions(options, GENERATOR_OPTION).generator);
    return new Tensor(await native().randnLike(handleOf(tensor, "tensor"), generator));
  }

  /** Integers from `low` (included) to `high` (excluded), int64; drawn on the generator's device. */
  static async randint(
    low: number,
    high: number,
    shape: readonly number[],
    options?: { generator?: Generator },
  ): Promise<Tensor> {
    const generator = generatorHandle(checkOptions(options, GENERATOR_OPTION).generator);
    checkRange(low, high);
    return new Tensor(await native().randint(low, high, shape, generator));
  }

  /** A random permutation of 0..n−1, int64 [n] on the CPU. */
  static async randperm(n: number, options?: { generator?: Generator }): Promise<Tensor> {
    const generator = generatorHandle(checkOptions(options, GENERATOR_OPTION).generator);
    checkCount("n", n);
    return new Tensor(await native().randperm(n, generator));
  }

  /** Joins tensors along an existing dimension. */
  static async cat(tensors: readonly Tensor[], dim = 0): Promise<Tensor> {
    const joined = handles(checkList(tensors, "tensors"));
    checkCat(tensors, dim);
    return new Tensor(await native().cat(joined, dim));
  }

  /**
   * Σ cᵢ·tᵢ over tensors of one shape, evaluated from left to right in float32 (float64 for float64 tensors).
   *
   * @param options.dtype type of the result; default that of the first tensor
   */
  static async linearCombination(
    terms: readonly (readonly [coefficient: number, tensor: Tensor])[],
    options?: { dtype?: DType },
  ): Promise<Tensor> {
    const { coefficients, tensors } = splitTerms(terms);
    const { dtype = null } = checkOptions(options, DTYPE_OPTION);
    return new Tensor(await native().linearCombination(coefficients, tensors, dtype));
  }

  /** As {@link Tensor.linearCombination}, with one coefficient for each row (index of the first dimension). */
  static async linearCombinationRows(
    terms: readonly (readonly [coefficients: readonly number[], tensor: Tensor])[],
  ): Promise<Tensor> {
    const { coefficients, tensors } = splitTerms(terms);
    return new Tensor(await native().linearCombinationRows(coefficients, tensors));
  }

  get shape(): number[] {
    return listOfThisRealm(this.#handle.shape);
  }

  get dtype(): DType {
    return this.#handle.dtype;
  }

  /** "cpu" or "cuda:N". */
  get device(): string {
    return this.#handle.device;
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }

  get disposed(): boolean {
    return this.#handle.disposed;
  }

  /**
   * The elements, row-major, in a flat typed array of the tensor's type: float16 and bfloat16 as Float32Array, int64 as
   * BigInt64Array, bool as Uint8Array.
   */
  async toArray(): Promise<TensorData> {
    return ofThisRealm(await native().tensorToData(this.#handle));
  }

  /** The single element of a one-element tensor, as a number. */
  async item(): Promise<number> {
    const values = await this.toArray();
    if (values.length !== 1)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `a tensor of ${values.length} elements is not one number`);
    return Number(values[0]);
  }

  /** A copy in another type or on another device. */
  async to(options: TensorOptions): Promise<Tensor> {
    const { dtype = null, device = null } = checkOptions(options, TENSOR_OPTIONS);
    return new Tensor(await native().to(this.#handle, dtype, device));
  }

  clone(): Promise<Tensor> {
    return this.#unary("clone");
  }

  /** Elements `start` (included) to `end` (excluded) along one dimension. */
  async slice(dim: number, start: number, end: number): Promise<Tensor> {
    checkDim(dim, this);
    return new Tensor(await native().slice(this.#handle, dim, start, end));
  }

  /** The same elements in another shape; one size may be -1. */
  async reshape(shape: readonly number[]): Promise<Tensor> {
    checkReshape(this, shape);
    return new Tensor(await native().reshape(this.#handle, shape));
  }

  /** Repeats the tensor `repeats[i]` times along each dimension. */
  async repeat(repeats: readonly number[]): Promise<Tensor> {
    checkRepeat(this, repeats);
    return new Tensor(await native().repeat(this.#handle, repeats));
  }

  /** Repeats every slice along `dim` `repeats` times. */
  async repeatInterleave(repeats: number, dim = 0): Promise<Tensor> {
    checkCount("repeats", repeats);
    checkDim(dim, this);
    return new Tensor(await native().repeatInterleave(this.#handle, repeats, dim));
  }

  /** Elementwise, with broadcasting. */
  add(other: Tensor | number): Promise<Tensor> {
    return this.#binary("add", other);
  }

  sub(other: Tensor | number): Promise<Tensor> {
    return this.#binary("sub", other);
  }

  mul(other: Tensor | number): Promise<Tensor> {
    return this.#binary("mul", other);
  }

  div(other: Tensor | number): Promise<Tensor> {
    return this.#binary("div", other);
  }

  async neg(): Promise<Tensor> {
    if (this.dtype === "bool") throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "a bool tensor has no negative");
    return await this.#unary("neg");
  }

  abs(): Promise<Tensor> {
    return this.#unary("abs");
  }

  exp(): Promise<Tensor> {
    return this.#unary("exp");
  }

  log(): Promise<Tensor> {
    return this.#unary("log");
  }

  sqrt(): Promise<Tensor> {
    return this.#unary("sqrt");
  }

  /** Rounds half to even. */
  round(): Promise<Tensor> {
    return this.#unary("round");
  }

  async clamp(min: number, max: number): Promise<Tensor> {
    return new Tensor(await native().clamp(this.#handle, min, max));
  }

  /** Clamps row b to [mins[b], maxs[b]]. */
  async clampRows(mins: readonly number[], maxs: readonly number[]): Promise<Tensor> {
    return new Tensor(await native().clampRows(this.#handle, mins, maxs));
  }

  /** Multiplies row b by factors[b]. */
  scaleRows(factors: readonly number[]): Promise<Tensor> {
    return Tensor.linearCombinationRows([[factors, this]]);
  }

  /** The q-quantile of |x| in each row, linearly interpolated. */
  async absQuantileRows(q: number): Promise<number[]> {
    checkQuantile(q);
    return listOfThisRealm(await native().absQuantileRows(this.#handle, q));
  }

  /** The standard deviation of each row, with Bessel's correction (n − 1), computed in float32 or float64. */
  async stdRows(): Promise<number[]> {
    return listOfThisRealm(await native().stdRows(this.#handle));
  }

  /** Whether type, device, shape and every element are the same (NaN equals nothing). */
  async equal(other: Tensor): Promise<boolean> {
    return native().equal(this.#handle, handleOf(other, "other"));
  }

  /** Whether no element is NaN or infinite. */
  async isFinite(): Promise<boolean> {
    return native().isFinite(this.#handle);
  }

  /** Shape, type and device: "Tensor [1,4,64,64] float32 on cpu". The elements are not shown: they may be on a GPU, or not computed yet. */
  toString(): string {
    return this.disposed ? "Tensor (disposed)" : `Tensor [${this.shape}] ${this.dtype} on ${this.device}`;
  }

  /** What `console.log` shows. */
  [inspect.custom](): string {
    return this.toString();
  }

  /** Frees the memory as soon as no queued job needs it. Calling it again does nothing. */
  dispose(): void {
    this.#handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async #binary(operation: BinaryOperation, other: Tensor | number): Promise<Tensor> {
    const operand = typeof other === "number" ? other : handleOf(other, "other");
    if (typeof other !== "number") checkBroadcast(this, other);
    return new Tensor(await native().binary(operation, this.#handle, operand));
  }

  async #unary(operation: UnaryOperation): Promise<Tensor> {
    return new Tensor(await native().unary(operation, this.#handle));
  }
}

async function drawRows(
  shape: readonly number[],
  generators: readonly Generator[],
  options: TensorOptions,
): Promise<Tensor> {
  if (generators.length !== checkList(shape, "shape")[0])
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${generators.length} generators were given for a batch of ${shape[0]}`,
    );
  const rows = await Promise.all(
    generators.map((generator) => Tensor.randn([1, ...shape.slice(1)], { ...options, generator })),
  );
  try {
    return await Tensor.cat(rows, 0);
  } finally {
    disposeAll(...rows);
  }
}

/** Disposes of every tensor given; `undefined` is allowed. */
export function disposeAll(...tensors: readonly (Tensor | undefined)[]): void {
  for (const tensor of tensors) tensor?.dispose();
}

/** Node-API does not support `Float16Array` yet: its elements are passed as float32, which is exact. */
function handedOver(data: TypedArray): TensorData {
  return nameOfTypedArray(data) === "Float16Array" ? Float32Array.from(data as Float16Elements) : (data as TensorData);
}

function fromNumbers(data: readonly number[]): Float64Array {
  if (!Array.isArray(data) || checkList(data, "data").some((element) => typeof element !== "number"))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `a tensor is made from a typed array or a list of numbers, not from ${describe(data)}`,
    );
  return Float64Array.from(data);
}

/**
 * @internal The addon's handle of an argument.
 *
 * @param expected what the argument may be, for the error
 * @throws `ERR_INVALID_ARGUMENT` naming the argument if it is not a tensor
 */
export function handleOf(tensor: Tensor, name: string, expected = "a Tensor"): NativeTensor {
  if (!(tensor instanceof Tensor))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} must be ${expected}, not ${describe(tensor)}`);
  return tensor.handle;
}

function handles(tensors: readonly Tensor[]): NativeTensor[] {
  return tensors.map((tensor, i) => handleOf(tensor, `tensor ${i}`));
}

function splitTerms<T>(terms: readonly (readonly [coefficient: T, tensor: Tensor])[]) {
  const pairs = checkList(terms, "terms").map((term, i) => checkList(term, `term ${i}`) as unknown as [T, Tensor]);
  return {
    coefficients: pairs.map(([coefficient]) => coefficient),
    tensors: handles(pairs.map(([, tensor]) => tensor)),
  };
}

/** Null selects libtorch's default generator; any other value that is not a Generator throws. */
function generatorHandle(generator: Generator | undefined): NativeGenerator | null {
  if (generator === undefined) return null;
  if (!(generator instanceof Generator))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `generator must be a Generator, not ${describe(generator)}`);
  return generator.handle;
}
