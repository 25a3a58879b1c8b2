import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { type ErrorCode, InstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { withLock } from "../../files/lock.js";
import { packageRoot } from "../../runtime/platform.js";
import { reasonOf } from "../errors.js";
import { RowStore, type StoreSource, storeError, storeFolder } from "./row-store.js";
import type { StoreWorkerData, StoreWorkerMessage } from "./store-worker.js";

export interface EnsureStoreOptions {
  signal?: AbortSignal | undefined;
  /** Called with the number of rows read. */
  onRows?: ((done: number) => void) | undefined;
}

/**
 * Returns the store of a parquet file, creating it if necessary. Of several processes one creates it and the others
 * wait.
 *
 * @param stores the folder of all stores
 * @throws `ERR_DATASET` for a broken parquet file, `ERR_IO` if the store cannot be written, `ERR_ABORTED`
 */
export async function ensureStore(
  stores: string,
  source: StoreSource,
  { signal, onRows }: EnsureStoreOptions = {},
): Promise<RowStore> {
  const folder = storeFolder(stores, source);
  const found = await RowStore.open(folder);
  if (found) return found;
  await mkdir(stores, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw storeError(stores, error.code, error.message);
  });
  return withLock(`${folder}.lock`, { signal }, async () => {
    const made = await RowStore.open(folder);
    if (made) return made;
    const temporary = `${folder}.tmp`;
    try {
      // Leftovers of a dead process, or an incomplete store.
      for (const leftover of [temporary, folder]) await rm(leftover, { recursive: true, force: true });
      const { path, columns, rows } = source;
      await runWorker({ path, columns, rows, folder, temporary }, signal, onRows);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    const store = await RowStore.open(folder);
    if (!store) throw storeError(folder, undefined, "it is incomplete");
    return store;
  });
}

/** The compiled worker: beside this file in the package, in `dist/` if this runs from the sources. */
function workerFile(): string {
  const beside = join(dirname(fileURLToPath(import.meta.url)), "store-worker.js");
  return existsSync(beside) ? beside : join(packageRoot, "dist", "data", "parquet", "store-worker.js");
}

async function runWorker(
  data: StoreWorkerData,
  signal: AbortSignal | undefined,
  onRows: ((done: number) => void) | undefined,
): Promise<void> {
  throwIfAborted(signal);
  const worker = new Worker(workerFile(), { workerData: data });
  const stop = () => void worker.terminate();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      worker.on("message", (message: StoreWorkerMessage) => {
        if ("rows" in message) onRows?.(message.rows);
        else if ("failed" in message) reject(workerError(data.folder, message.failed));
        else resolve();
      });
      worker.on("error", (error) => reject(crashError(data.path, error)));
      // Has no effect if the promise is settled already.
      worker.on("exit", (status) => reject(crashError(data.path, new Error(`its worker ended with ${status}`))));
    });
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
    // The worker must have ended before its files are removed.
    await worker.terminate();
  }
}

/** For a worker that could not report its own error. */
function crashError(path: string, error: Error): InstructPix2PixError {
  const outOfMemory = (error as NodeJS.ErrnoException).code === "ERR_WORKER_OUT_OF_MEMORY";
  return new InstructPix2PixError(
    outOfMemory ? "ERR_OUT_OF_MEMORY" : "ERR_INTERNAL",
    `${path}: unpacking failed: ${reasonOf(error)}`,
    { cause: error },
  );
}

function workerError(
  folder: string,
  { code, message, typed }: { code: string | undefined; message: string; typed: boolean },
): InstructPix2PixError {
  return typed ? new InstructPix2PixError(code as ErrorCode, message) : storeError(folder, code, message);
}
