import type { NativeCancelToken } from "./system.js";
import type { NativeTensor } from "./tensor.js";

/** bindings/distributed.cc: all of it rejects with `ERR_DISTRIBUTED` where other processes cannot be reached. */
export interface DistributedAddon {
  /**
   * Connects to the store that the processes share, or serves it as well.
   *
   * @param port 0 to serve on any free one
   * @param timeout in milliseconds, to wait for the server
   * @param heartbeats whether its calls are short ones that must not wait for those of another connection
   */
  openStore(host: string, port: number, serve: boolean, timeout: number, heartbeats: boolean): Promise<NativeStore>;
  storePort(store: NativeStore): number;
  storeSet(store: NativeStore, key: string, text: string): Promise<void>;
  /** Resolves to null if the key is not set within `timeout` milliseconds. */
  storeGet(store: NativeStore, key: string, timeout: number, cancel: NativeCancelToken | null): Promise<string | null>;
  /** Resolves to the sum of all numbers that were added. */
  storeAdd(store: NativeStore, key: string, number: number): Promise<number>;
  storeRemove(store: NativeStore, key: string): Promise<void>;
  /**
   * Connects the processes with one another: over Gloo for tensors on the CPU, and over NCCL for those on `device`.
   *
   * @param timeout in milliseconds, of every exchange
   * @param device where this process computes; rejects with `ERR_CUDA_UNAVAILABLE` if it does not exist
   */
  openProcessGroup(
    store: NativeStore,
    name: string,
    rank: number,
    size: number,
    timeout: number,
    device: string,
  ): Promise<NativeProcessGroup>;
  /** Replaces a contiguous tensor on the CPU by its sum over all processes. */
  groupSum(group: NativeProcessGroup, tensor: NativeTensor, cancel: NativeCancelToken | null): Promise<void>;
  /** Replaces a tensor by that of the process `root`. */
  groupBroadcast(
    group: NativeProcessGroup,
    tensor: NativeTensor,
    root: number,
    cancel: NativeCancelToken | null,
  ): Promise<void>;
}

export interface NativeStore {
  dispose(): void;
}

export interface NativeProcessGroup {
  dispose(): void;
}
