import type { DType } from "../core/tensor.js";

/**
 * The addon, as one typed interface: everything native/bindings exports. Functions that return a promise queue a job on
 * the worker thread of a device (first in, first out) and reject with an InstructPix2PixError; the others return at
 * once and access tensor data only to copy it in. Not public: lib/core/tensor.ts and lib/models/ wrap them.
 */
export interface NativeAddon {
  /** The version of libtorch whose headers the addon was compiled with. */
  readonly libtorchVersion: string;

  setErrorClass(errorClass: new (code: never, message: string) => Error): void;
  systemInfo(): SystemInfo;
  /** Announces the end of the process, so that running jobs do not crash during its teardown. */
  processEnds(status: number): void;
  /** Native memory of the undisposed tensors, models and trainers of this JavaScript environment. */
  memoryUsage(): { objects: number; bytes: number };
  setThreads(count: number): Promise<void>;
  getThreads(): Promise<number>;

  // bindings/cuda.cc
  /** Null without the CUDA library. */
  cudaVersions(): CudaVersions | null;
  cudaProperties(device: string): CudaProperties;
  deviceMemory(device: string): Promise<DeviceMemory>;
  resetPeakMemory(device: string): Promise<void>;
  emptyCache(device: string): Promise<void>;
  /** Resolves when all work queued on the device is done. */
  synchronize(device: string): Promise<void>;
  /** Whether CUDA may round float32 matrix products to TF32. */
  setAllowTf32(allowed: boolean): void;
  /** Uses deterministic operators; one without a deterministic version throws. */
  setDeterministic(wanted: boolean): void;

  CancelToken: new () => NativeCancelToken;
  UNetCache: new (timesteps: readonly number[]) => NativeUNetCache;
  NativeTensor: abstract new () => NativeTensor;
  NativeGenerator: new (device: string, seed: bigint) => NativeGenerator;

  // bindings/tensor_ops.cc
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

  // bindings/random.cc
  randn(
    shape: readonly number[],
    dtype: DType,
    device: string,
    generator: NativeGenerator | null,
  ): Promise<NativeTensor>;
  rand(
    shape: readonly number[],
    dtype: DType,
    device: string,
    generator: NativeGenerator | null,
  ): Promise<NativeTensor>;
  /** Drawn in the tensor's memory layout, as torch.randn_like does. */
  randnLike(tensor: NativeTensor, generator: NativeGenerator | null): Promise<NativeTensor>;
  randint(
    low: number,
    high: number,
    shape: readonly number[],
    generator: NativeGenerator | null,
  ): Promise<NativeTensor>;
  randperm(n: number, generator: NativeGenerator | null): Promise<NativeTensor>;
  randomInt64(generator: NativeGenerator): Promise<bigint>;
  generatorState(generator: NativeGenerator): Promise<Uint8Array>;
  setGeneratorState(generator: NativeGenerator, state: Uint8Array): Promise<void>;
  generatorSeed(generator: NativeGenerator): bigint;

  // bindings/files.cc
  readSafetensors(
    path: string,
  ): Promise<{ names: string[]; tensors: NativeTensor[]; metadata: [string, string][] | null }>;
  /** Of all tensors, of which none is read. */
  readSafetensorsHeader(
    path: string,
  ): Promise<{ names: string[]; dtypes: string[]; shapes: number[][]; metadata: [string, string][] | null }>;
  writeSafetensors(
    path: string,
    names: readonly string[],
    tensors: readonly NativeTensor[],
    metadata: Record<string, string> | null,
  ): Promise<void>;

  // bindings/models.cc
  loadModel(
    kind: ModelKind,
    config: object,
    files: readonly string[],
    options: {
      dtype: DType;
      device: string;
      attention: AttentionBackend;
      quantization: Quantization;
      /** Accepts weights that hold NaN or infinity; otherwise `ERR_NOT_FINITE` names the first one. */
      allowNonFinite: boolean;
      /** The parameters in the first file. Null: all tensors of all files, by their own names. */
      views: readonly TensorView[] | null;
    },
    cancel: NativeCancelToken | null,
  ): Promise<NativeModel>;
  /** With random float32 weights. */
  createModel(
    kind: ModelKind,
    config: object,
    options: { device: string; attention: AttentionBackend },
    generator: NativeGenerator | null,
  ): Promise<NativeModel>;
  modelStateDict(model: NativeModel): Promise<Record<string, NativeTensor>>;
  setModelParameter(model: NativeModel, name: string, value: NativeTensor): Promise<void>;
  /** Work queued for the model before the move is done fails. */
  moveModel(model: NativeModel, device: string): Promise<void>;
  unetForward(
    model: NativeModel,
    sample: NativeTensor,
    /** One for all rows or one for each; a tensor of them is [] or [N]. */
    timesteps: readonly number[] | NativeTensor,
    encoderHiddenStates: NativeTensor,
    options: {
      sampleRows: readonly number[] | null;
      cache: NativeUNetCache | null;
      /** Reuses those of the last pass that kept them; `keep` and `reuse` need a cache. */
      deepFeatures: DeepFeatures;
    },
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  /** Resolves to the moments: mean and log variance, [B,2·latent_channels,h,w]. */
  vaeEncode(
    model: NativeModel,
    x: NativeTensor,
    slicing: boolean,
    tiling: NativeTiling | null,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  vaeDecode(
    model: NativeModel,
    z: NativeTensor,
    slicing: boolean,
    tiling: NativeTiling | null,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  clipTextForward(
    model: NativeModel,
    inputIds: NativeTensor,
    hiddenStates: boolean,
    /** [B,T], 0 where a token is not attended to. */
    attentionMask: NativeTensor | null,
    /** The last layers to leave out. */
    skippedLayers: number,
    cancel: NativeCancelToken | null,
  ): Promise<{ lastHiddenState: NativeTensor; pooled: NativeTensor; hiddenStates?: NativeTensor[] }>;

  // bindings/operators.cc
  /**
   * An operator of the layers by its name in kernels/ops.h, for tests and benches. If the gradient of the output is
   * given, the tensors' gradients follow the output.
   */
  callOperator(
    name: string,
    tensors: readonly NativeTensor[],
    numbers: readonly number[],
    outputGradient: NativeTensor | null,
  ): Promise<NativeTensor[]>;

  /** The same, recorded as a CUDA graph and replayed. */
  replayOperator(name: string, tensors: readonly NativeTensor[], numbers: readonly number[]): Promise<NativeTensor>;

  // bindings/training.cc
  createTrainer(
    unet: NativeModel,
    textEncoder: NativeModel | null,
    options: NativeTrainerOptions,
  ): Promise<NativeTrainer>;
  createAutoencoderTrainer(vae: NativeModel, options: NativeTrainerOptions): Promise<NativeTrainer>;
  /** Resolves to the loss: one element, not multiplied by `factor`. `text`: embeddings, or ids for a trained encoder. */
  trainerMicroStep(
    trainer: NativeTrainer,
    sample: NativeTensor,
    timesteps: NativeTensor,
    text: NativeTensor,
    target: NativeTensor,
    factor: number,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  /** Resolves to the loss: one element, not multiplied by `factor`. */
  trainerAutoencoderStep(
    trainer: NativeTrainer,
    x: NativeTensor,
    noise: NativeTensor,
    klWeight: number,
    factor: number,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  trainerStep(
    trainer: NativeTrainer,
    learningRate: number,
    maxGradNorm: number,
    lossScale: number,
    emaDecay: number | null,
  ): Promise<{ gradNorm: number; skipped: boolean }>;
  trainerUpdateEma(trainer: NativeTrainer, decay: number): Promise<void>;
  trainerSwapEma(trainer: NativeTrainer): Promise<void>;
  trainerForgetGradients(trainer: NativeTrainer): Promise<void>;
  trainerState(trainer: NativeTrainer, which: "optimizer" | "ema" | "gradients"): Promise<Record<string, NativeTensor>>;
  copyTensors(targets: readonly NativeTensor[], sources: readonly NativeTensor[]): Promise<void>;
  selectRows(flags: readonly number[], a: NativeTensor, b: NativeTensor): Promise<NativeTensor>;

  // bindings/pictures.cc
  resize(
    data: Uint8Array,
    width: number,
    height: number,
    channels: number,
    outWidth: number,
    outHeight: number,
    filter: string,
  ): Promise<Uint8Array>;
  /** [B,C,H,W] resized by nearest neighbour. */
  resizeNearest(x: NativeTensor, height: number, width: number): Promise<NativeTensor>;
  pictureToTensor(rgb: Uint8Array, width: number, height: number): Promise<NativeTensor>;
  picturesToTensor(
    rgb: Uint8Array,
    count: number,
    height: number,
    width: number,
    flips: readonly number[],
  ): Promise<NativeTensor>;
  tensorToPictures(tensor: NativeTensor): Promise<Uint8Array[]>;
}

export interface SystemInfo {
  libtorch: string;
  /** Instruction set that libtorch's CPU kernels use: "AVX2", "AVX512", … */
  cpuCapability: string;
  /** Default number of threads of CPU operators. */
  defaultThreads: number;
  cudaBuilt: boolean;
  cudaDevices: number;
  /** Whether this package's CUDA library is loaded. */
  cudaLibrary: boolean;
}

/** CUDA's version numbers: 13000 is 13.0. */
export interface CudaVersions {
  /** The newest CUDA version that the driver supports; 0 without a driver. */
  driver: number;
  /** 0 if unknown, as without a driver. */
  runtime: number;
}

/** Properties of a CUDA device. */
export interface CudaProperties {
  /** E.g. "NVIDIA H200". */
  name: string;
  /** Major and minor number, e.g. [9, 0]. */
  computeCapability: number[];
  /** Bytes. */
  memory: number;
  multiprocessors: number;
}

/** Memory of a CUDA device, in bytes. */
export interface DeviceMemory {
  /** Held by tensors of this process. */
  allocated: number;
  /** Reserved by this process, cached memory included. */
  reserved: number;
  /** Maximum since the start of the process or the last reset. */
  peakAllocated: number;
  peakReserved: number;
  /** Free memory; null without the package's CUDA library. */
  free: number | null;
  /** Total memory; null without the package's CUDA library. */
  total: number | null;
}

export interface NativeTensor {
  readonly shape: number[];
  readonly dtype: DType;
  readonly device: string;
  readonly disposed: boolean;
  dispose(): void;
}

export interface NativeGenerator {
  readonly device: string;
}

export interface NativeModel {
  readonly disposed: boolean;
  dispose(): void;
}

export interface NativeTrainer {
  dispose(): void;
}

export interface NativeTrainerOptions {
  adamBeta1: number;
  adamBeta2: number;
  adamEpsilon: number;
  adamWeightDecay: number;
  use8bitAdam: boolean;
  useEma: boolean;
  gradientCheckpointing: boolean;
  /** Keeps shadow weights in the type of mixed precision: identical results, faster, for two bytes per weight. */
  shadowWeights: boolean;
  mixedPrecision: "bfloat16" | "float16" | null;
}

export interface NativeUNetCache {
  dispose(): void;
}

export interface NativeCancelToken {
  cancel(): void;
}

export interface NativeTiling {
  sampleMinSize: number;
  latentMinSize: number;
  overlap: number;
}

export type ModelKind = "UNet2DConditionModel" | "AutoencoderKL" | "CLIPTextModel";
/** Consecutive elements of a file's tensor, read as a parameter of another name and shape. */
export interface TensorView {
  /** The tensor's name in the file. */
  source: string;
  /** The parameter's name. */
  name: string;
  /** Of the elements as they lie in the file. */
  shape: readonly number[];
  /** The first element. */
  first: number;
  /** Whether the parameter is the transpose of this matrix. */
  transposed: boolean;
}

export type DeepFeatures = "forget" | "keep" | "reuse";
export type Quantization = "none" | "int8";
export type AttentionBackend = "auto" | "math";
export type BinaryOperation = "add" | "sub" | "mul" | "div";
export type UnaryOperation = "neg" | "abs" | "exp" | "log" | "sqrt" | "round" | "clone";

/** The used part of `Float16Array`, for older TypeScript libraries. */
export interface Float16Elements extends ArrayLike<number> {
  readonly [Symbol.toStringTag]: "Float16Array";
}

export type TensorData =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray;
