import "../../symbols.js"; // before everything else
import { parentPort, workerData } from "node:worker_threads";
import { InstructPix2PixError } from "../../errors.js";
import { type BuildStoreOptions, buildStore } from "./build-store.js";

/** What the worker is given. */
export type StoreWorkerData = Omit<BuildStoreOptions, "onRows">;

/** What it says: rows that are done, and in the end that all are, or why not. */
export type StoreWorkerMessage =
  | { readonly rows: number }
  | { readonly finished: true }
  | { readonly failed: { code: string | undefined; message: string; typed: boolean } };

// Runs as a worker thread: decompressing and decoding a row group takes too long for the event loop.
const say = (message: StoreWorkerMessage) => parentPort?.postMessage(message);
buildStore({ ...(workerData as StoreWorkerData), onRows: (rows) => say({ rows }) }).then(
  () => say({ finished: true }),
  (error: unknown) => {
    const { code, message } = error as NodeJS.ErrnoException;
    say({ failed: { code, message: String(message), typed: error instanceof InstructPix2PixError } });
  },
);
