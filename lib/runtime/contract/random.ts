import type { DType, NativeTensor } from "./tensor.js";

/** bindings/random.cc */
export interface RandomAddon {
  NativeGenerator: new (device: string, seed: bigint) => NativeGenerator;
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
}

export interface NativeGenerator {
  readonly device: string;
}
