/** Progress of a download. */
export interface DownloadProgress {
  stage: "download";
  /** The file's name in the repository. */
  file: string;
  downloadedBytes: number;
  totalBytes: number;
  /** Total over all files missing in the cache that are known so far. */
  allDownloadedBytes: number;
  allTotalBytes: number;
}

const INTERVAL_MS = 100;

/** Reports progress to a listener, ten times a second per file and at its end. */
export class ProgressReport {
  readonly #listener: ((progress: DownloadProgress) => void) | undefined;
  readonly #files = new Map<string, { done: number; total: number; told: number }>();

  constructor(listener: ((progress: DownloadProgress) => void) | undefined) {
    this.#listener = listener;
  }

  expect(file: string, total: number): void {
    this.#files.set(file, { done: 0, total, told: Number.NEGATIVE_INFINITY });
  }

  bytes(file: string, done: number): void {
    const state = this.#files.get(file)!;
    state.done = done;
    const now = performance.now();
    if (now - state.told >= INTERVAL_MS) {
      state.told = now;
      this.#tell(file);
    }
  }

  done(file: string): void {
    const state = this.#files.get(file)!;
    state.done = state.total;
    this.#tell(file);
  }

  #tell(file: string): void {
    const { done: downloadedBytes, total: totalBytes } = this.#files.get(file)!;
    let allDownloadedBytes = 0;
    let allTotalBytes = 0;
    for (const { done, total } of this.#files.values()) {
      allDownloadedBytes += done;
      allTotalBytes += total;
    }
    this.#listener?.({ stage: "download", file, downloadedBytes, totalBytes, allDownloadedBytes, allTotalBytes });
  }
}
