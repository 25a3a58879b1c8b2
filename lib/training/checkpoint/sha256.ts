import { Worker } from "node:worker_threads";
import { throwIfAborted } from "../../errors.js";
import type { Sha256 } from "./file-system.js";

type Answer = { result: Sha256 } | { error: { code?: string; message: string } };

/**
 * Hashes files one after the other in a thread of its own: a checkpoint has gigabytes, and each of them would keep the
 * event loop busy for half a second.
 *
 * @returns size and SHA-256 of each file, in the order of `paths`
 * @throws Node's error for the first file that cannot be read, or `ERR_ABORTED`
 */
export async function sha256OfFiles(paths: readonly string[], signal?: AbortSignal): Promise<Sha256[]> {
  throwIfAborted(signal);
  if (paths.length === 0) return [];
  // The function's text is the thread's program, so that it needs no file that only a built package has.
  // Nor may flags of the process, such as --input-type=module, change what language that is.
  const worker = new Worker(`(${hashInThread.toString()})()`, { eval: true, execArgv: [], workerData: paths });
  const stop = () => void worker.terminate();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await new Promise<Sha256[]>((resolve, reject) => {
      const results: Sha256[] = [];
      worker.on("message", (answer: Answer) => {
        if ("error" in answer) reject(Object.assign(new Error(answer.error.message), { code: answer.error.code }));
        else if (results.push(answer.result) === paths.length) resolve(results);
      });
      worker.on("error", reject);
      worker.on("exit", (status) => reject(new Error(`the hashing thread ended early (${status})`)));
    });
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
    await worker.terminate();
  }
}

/** The thread's program. It sees nothing of this module: only what it requires itself. */
function hashInThread(): void {
  const { parentPort, workerData } = require("node:worker_threads") as typeof import("node:worker_threads");
  const { closeSync, openSync, readSync } = require("node:fs") as typeof import("node:fs");
  const { createHash } = require("node:crypto") as typeof import("node:crypto");
  const buffer = Buffer.allocUnsafeSlow(1 << 20);
  for (const path of workerData as string[]) {
    try {
      const file = openSync(path, "r");
      try {
        const hash = createHash("sha256");
        let size = 0;
        for (let read = 0; (read = readSync(file, buffer, 0, buffer.length, null)) > 0; size += read)
          hash.update(buffer.subarray(0, read));
        parentPort!.postMessage({ result: { size, sha256: hash.digest("hex") } });
      } finally {
        closeSync(file);
      }
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      parentPort!.postMessage({ error: { code, message } });
      return;
    }
  }
}
