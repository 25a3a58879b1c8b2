/** Element types of a {@link Tensor}. */
export const DTYPES = [
  "float32",
  "float64",
  "bfloat16",
  "float16",
  "int64",
  "int32",
  "int16",
  "int8",
  "uint8",
  "bool",
] as const;
/** The type of a tensor's elements. */
export type DType = (typeof DTYPES)[number];

/** bindings/tensor_ops.cc */
export interface TensorAddon {
  NativeTensor: abstract new () => NativeTensor;
  tensorFromData(data: TensorData, dtype: DType, shape: readonly number[]): NativeTensor;
  tensorToData(tensor: NativeTensor): Promise<TensorData>;
  full(shape: readonly number[], value: number, dtype: DType, device: string): Promise<NativeTensor>;
  cat(tensors: readonly NativeTensor[], dim: number): Promise<NativeTensor>;
  linearCombination(
    coefficients: readonly number[],
    tensors: readonly NativeTensor[],
    dtype: DType | null,
  ): Promise<NativeTensor>;
  linearCombinationRows(
    coefficients: readonly (readonly number[])[],
    tensors: readonly NativeTensor[],
  ): Promise<NativeTensor>;
  /** The weighted sum of equal chunks of x along the first dimension, one per coefficient. */
  combineChunks(x: NativeTensor, coefficients: readonly number[]): Promise<NativeTensor>;
  binary(operation: BinaryOperation, a: NativeTensor, b: NativeTensor | number): Promise<NativeTensor>;
  unary(operation: UnaryOperation, x: NativeTensor): Promise<NativeTensor>;
  clamp(x: NativeTensor, min: number, max: number): Promise<NativeTensor>;
  clampRows(x: NativeTensor, mins: readonly number[], maxs: readonly number[]): Promise<NativeTensor>;
  absQuantileRows(x: NativeTensor, q: number): Promise<number[]>;
  stdRows(x: NativeTensor): Promise<number[]>;
  to(x: NativeTensor, dtype: DType | null, device: string | null): Promise<NativeTensor>;
  slice(x: NativeTensor, dim: number, start: number, end: number): Promise<NativeTensor>;
  reshape(x: NativeTensor, shape: readonly number[]): Promise<NativeTensor>;
  repeat(x: NativeTensor, repeats: readonly number[]): Promise<NativeTensor>;
  repeatInterleave(x: NativeTensor, repeats: number, dim: number): Promise<NativeTensor>;
  toChannelsLast(x: NativeTensor): Promise<NativeTensor>;
  isChannelsLast(x: NativeTensor): Promise<boolean>;
  equal(a: NativeTensor, b: NativeTensor): Promise<boolean>;
  /** Whether no element is NaN or infinite, in one pass and without a copy. */
  isFinite(x: NativeTensor): Promise<boolean>;
}

export interface NativeTensor {
  readonly shape: number[];
  readonly dtype: DType;
  readonly device: string;
  readonly disposed: boolean;
  dispose(): void;
}

export type BinaryOperation = "add" | "sub" | "mul" | "div";

export type UnaryOperation = "neg" | "abs" | "exp" | "log" | "sqrt" | "round" | "clone";

/** The used part of `Float16Array`, for older TypeScript libraries. */
export interface Float16Elements extends ArrayLike<number> {
  readonly [Symbol.toStringTag]: "Float16Array";
}

/** The elements of a tensor in JavaScript. */
export type TensorData =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray;
