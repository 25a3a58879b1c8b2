/** The values of a step. */
export interface Row {
  readonly step: number;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Destination of a W&B run's rows and images: a server, or a file for later. */
export interface RunSink {
  /** Adds a row to the run's history, and its values to the run's summary. */
  send(row: Row): Promise<void>;
  /** @param name in the run's files, e.g. `media/images/validation_100_….png` */
  upload(name: string, content: Uint8Array): Promise<void>;
  /**
   * Called last; takes about `timeoutMs` at most.
   *
   * @returns the number of lost rows and files
   */
  finish(exitCode: number, timeoutMs: number): Promise<{ rows: number; files: number }>;
}
