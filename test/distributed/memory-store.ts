import { vi } from "vitest";
import { InstructPix2PixError } from "../../lib/core/errors.js";

/** The store of processes that are only imagined, by its host and port, as the addon would serve it. */
class MemoryStore {
  readonly values = new Map<string, string>();
  readonly numbers = new Map<string, number>();
  /** Keys whose values do not change any more. */
  readonly frozen = new Set<string>();
  gone = false;
  hangs = false;
}

const stores = new Map<number, MemoryStore>();

/** The store that is served at a port. */
export function storeAt(port: number): MemoryStore {
  const store = stores.get(port) ?? new MemoryStore();
  stores.set(port, store);
  return store;
}

interface Handle {
  store: MemoryStore;
  dispose(): void;
}

async function reach<T>({ store }: Handle, work: () => T): Promise<T> {
  await new Promise(setImmediate);
  if (store.hangs) await new Promise(() => {});
  if (store.gone)
    throw new InstructPix2PixError("ERR_DISTRIBUTED", "the processes' store is gone: Connection reset by peer");
  return work();
}

/** A group that is connected. */
export const joined = { dispose: () => {} };

/** What the addon has for processes: a store in memory, and a group whose sums are those of one process. */
export const memoryAddon = {
  CancelToken: class {
    isCancelled = false;
    cancel(): void {
      this.isCancelled = true;
    }
  },
  systemInfo: () => ({ libtorch: "2.13.0", cpuCapability: "avx2", cpuKernels: "avx2" }),
  openStore: async (_host: string, port: number): Promise<Handle> => ({ store: storeAt(port), dispose: () => {} }),
  storeSet: (handle: Handle, key: string, text: string) =>
    reach(handle, () => void (handle.store.frozen.has(key) || handle.store.values.set(key, text))),
  async storeGet(handle: Handle, key: string, timeout: number, cancel: { isCancelled: boolean } | null) {
    const end = performance.now() + timeout;
    for (;;) {
      if (cancel?.isCancelled) throw new InstructPix2PixError("ERR_ABORTED", "the operation was aborted");
      const text = await reach(handle, () => handle.store.values.get(key));
      if (text !== undefined || performance.now() >= end) return text ?? null;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  },
  storeAdd: (handle: Handle, key: string, number: number) =>
    reach(handle, () => {
      const sum = (handle.store.numbers.get(key) ?? 0) + number;
      handle.store.numbers.set(key, sum);
      return sum;
    }),
  storeRemove: (handle: Handle, key: string) =>
    reach(handle, () => {
      handle.store.values.delete(key);
      handle.store.numbers.delete(key);
    }),
  openProcessGroup: vi.fn(async (): Promise<object> => joined),
};
