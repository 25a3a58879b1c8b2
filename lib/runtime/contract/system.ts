/** bindings/system.cc */
export interface SystemAddon {
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
  /**
   * Gives the threads that compute on the CPU at least this niceness, 0..19 as `nice` has it, so that the kernel prefers the
   * process's other threads. On Linux only, and for as long as the process lives.
   */
  raiseNiceness(least: number): Promise<void>;
  /** Begins to record which operators run in this process, on all threads; false if somebody records already. */
  startOperatorTrace(): boolean;
  /** What was recorded, at most the first million calls. */
  stopOperatorTrace(): OperatorTrace;
  setAllowWinograd(allowed: boolean): void;

  CancelToken: new () => NativeCancelToken;
}

export interface OperatorTrace {
  names: string[];
  /** Four numbers for each call: the index of its name, its thread (0, 1, …), start and end in nanoseconds since the beginning. */
  calls: Float64Array;
}

export interface SystemInfo {
  libtorch: string;
  /** Instruction set that libtorch's CPU kernels use: "AVX2", "AVX512", … */
  cpuCapability: string;
  /** The same of this package's kernels: "avx2", "avx512", "avx512_bf16", "amx", "neon", "neon_bf16" or "none". */
  cpuKernels: string;
  /**
   * The type in which models with weights of a type compute on the CPU: "float32" where the processor has no instructions
   * for the type.
   */
  cpuArithmetic: Record<"bfloat16" | "float16", "bfloat16" | "float16" | "float32">;
  /** Default number of threads of CPU operators. */
  defaultThreads: number;
  cudaBuilt: boolean;
  cudaDevices: number;
  /** Whether this package's CUDA library is loaded. */
  cudaLibrary: boolean;
}

export interface NativeCancelToken {
  cancel(): void;
}
