import "../../core/symbols.js"; // before everything else
import { parentPort, workerData } from "node:worker_threads";
import { InstructPix2PixError } from "../../core/errors.js";
import { type BuildStoreOptions, buildStore } from "./build-store.js";

/** The worker's input. */
export type StoreWorkerData = Omit<BuildStoreOptions, "onRows">;

/** The worker's messages: finished rows, and finally success or an error. */
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
