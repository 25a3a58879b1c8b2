/** bindings/cuda.cc */
export interface CudaAddon {
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
