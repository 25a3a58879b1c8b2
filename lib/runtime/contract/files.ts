import type { NativeTensor } from "./tensor.js";

/** bindings/files.cc */
export interface FilesAddon {
  readSafetensors(
    path: string,
  ): Promise<{ names: string[]; tensors: NativeTensor[]; metadata: [string, string][] | null }>;
  /** Describes all tensors and reads none. */
  readSafetensorsHeader(
    path: string,
  ): Promise<{ names: string[]; dtypes: string[]; shapes: number[][]; metadata: [string, string][] | null }>;
  writeSafetensors(
    path: string,
    names: readonly string[],
    tensors: readonly NativeTensor[],
    metadata: Record<string, string> | null,
  ): Promise<void>;
}
