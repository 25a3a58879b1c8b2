import { isError } from "../../core/errors.js";
import { toJson } from "../../files/json.js";
import { WandbError, type WandbHttp } from "./http.js";
import { Outbox } from "./outbox.js";
import { registerFile, streamPath, type WandbRun } from "./run.js";
import type { Row, RunSink } from "./run-sink.js";

/** Milliseconds. */
export interface SenderTiming {
  /** Before the first rows are sent. */
  first: number;
  /** Between requests, as W&B's own clients have it. */
  interval: number;
  /** Heartbeat interval without other requests. */
  heartbeat: number;
  /** After a failure; doubled with each that follows, up to `longestRetry`. */
  retry: number;
  longestRetry: number;
  /** Time limit for the first attempt to create the run, which is awaited. */
  connect: number;
}

const DEFAULT_TIMING: SenderTiming = {
  first: 2_000,
  interval: 15_000,
  heartbeat: 30_000,
  retry: 2_000,
  longestRetry: 60_000,
  connect: 15_000,
};

/** Longest retry interval at the end of the run. */
const LONGEST_RETRY_AT_END = 1_000;

export interface SenderOptions {
  http: WandbHttp;
  /** Creates the run; repeated until it succeeds. */
  start: (signal: AbortSignal) => Promise<WandbRun>;
  onStarted: (run: WandbRun) => void;
  /** Called once when the server is unreachable, and once when it refuses data. */
  warn: (message: string) => void;
  timing?: Partial<SenderTiming> | undefined;
}

/** Sends rows and files to the server in the background; the run never waits for it. */
export class Sender implements RunSink {
  readonly #outbox = new Outbox();
  readonly #options: SenderOptions;
  readonly #timing: SenderTiming;
  readonly #stop = new AbortController();
  #run: WandbRun | undefined;
  /** Number of the next row in the server's file: rows sent again after a lost response overwrite themselves. */
  #offset = 0;
  /** The summary, including values logged before the run was resumed. */
  #summary: Record<string, unknown> = {};
  /** Uploaded files not yet reported to the server. */
  #uploaded: string[] = [];
  #exitCode: number | undefined;
  #state: "open" | "refused" | "complete" = "open";
  #failures = 0;
  #warned = false;
  #lastRequest = 0;
  #wake = () => {};
  #loop: Promise<void> = Promise.resolve();

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
  }

  /**
   * Tries once to create the run, then continues in the background.
   *
   * @throws {@link WandbError} if the server refuses; an unreachable server is not an error
   */
  async open(): Promise<void> {
    let pause = this.#timing.first;
    try {
      await this.#connect(AbortSignal.any([this.#stop.signal, AbortSignal.timeout(this.#timing.connect)]));
    } catch (error) {
      if (isRefusal(error)) throw error;
      pause = this.#failed(error);
    }
    this.#loop = this.#work(pause);
  }

  async send({ step, values }: Row): Promise<void> {
    this.#outbox.addRow({ step, json: toJson(values) });
    Object.assign(this.#summary, values);
    if (this.#state === "refused") this.#outbox.clear();
  }

  async upload(name: string, content: Uint8Array): Promise<void> {
    this.#outbox.addFile({ name, content });
    if (this.#state === "refused") this.#outbox.clear();
  }

  /** Sends remaining data and the end of the run; gives up after `timeoutMs`. */
  async finish(exitCode: number, timeoutMs: number): Promise<{ rows: number; files: number }> {
    this.#exitCode = exitCode;
    this.#wake();
    const deadline = setTimeout(() => this.#stop.abort(), timeoutMs);
    try {
      await this.#loop;
    } finally {
      clearTimeout(deadline);
      this.#stop.abort();
      await this.#options.http.close();
    }
    this.#outbox.clear();
    return { rows: this.#outbox.droppedRows, files: this.#outbox.droppedFiles };
  }

  async #work(firstPause: number): Promise<void> {
    for (let pause = firstPause; ; ) {
      await this.#pause(pause);
      if (this.#stop.signal.aborted) return;
      try {
        await this.#sendAll();
        this.#failures = 0;
        pause = this.#timing.interval;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (isRefusal(error)) this.#giveUp(error);
        else pause = this.#failed(error);
      }
      if (this.#state !== "open") return;
    }
  }

  async #sendAll(): Promise<void> {
    const run = await this.#connect(this.#stop.signal);
    await this.#sendRows(run);
    await this.#sendFiles(run);
    if (this.#exitCode !== undefined && this.#outbox.isEmpty) {
      await this.#post(run, { complete: true, exitcode: this.#exitCode });
      this.#state = "complete";
    } else if (performance.now() - this.#lastRequest >= this.#timing.heartbeat) await this.#post(run, {});
  }

  async #connect(signal: AbortSignal): Promise<WandbRun> {
    if (this.#run) return this.#run;
    const run = await this.#options.start(signal);
    this.#run = run;
    this.#offset = run.historyLines;
    this.#outbox.forgetThrough(run.lastStep);
    this.#summary = { ...run.summary, ...this.#summary };
    this.#options.onStarted(run);
    return run;
  }

  async #sendRows(run: WandbRun): Promise<void> {
    for (let rows = this.#outbox.takeRows(); rows.length > 0; rows = this.#outbox.takeRows()) {
      try {
        await this.#post(run, {
          files: {
            "wandb-history.jsonl": { offset: this.#offset, content: rows.map(({ json }) => json) },
            "wandb-summary.json": { offset: 0, content: [toJson(this.#summary)] },
          },
        });
      } catch (error) {
        this.#outbox.putBackRows(rows);
        throw error;
      }
      this.#offset += rows.length;
    }
  }

  async #sendFiles(run: WandbRun): Promise<void> {
    for (let file = this.#outbox.takeFile(); file; file = this.#outbox.takeFile()) {
      try {
        const { url, headers } = await registerFile(this.#options.http, run, file.name, this.#stop.signal);
        await this.#options.http.upload(url, headers, file.content, this.#stop.signal);
        this.#uploaded.push(file.name);
      } catch (error) {
        if (isRefusal(error)) {
          // The server may refuse one file but accept others.
          this.#outbox.droppedFiles++;
          continue;
        }
        this.#outbox.putBackFile(file);
        throw error;
      }
    }
    if (this.#uploaded.length > 0) {
      const uploaded = this.#uploaded;
      await this.#post(run, { uploaded });
      this.#uploaded = [];
    }
  }

  async #post(run: WandbRun, body: object): Promise<void> {
    await this.#options.http.post(streamPath(run), body, this.#stop.signal);
    this.#lastRequest = performance.now();
  }

  /** @returns milliseconds to wait */
  #failed(error: unknown): number {
    if (!this.#warned) {
      this.#warned = true;
      this.#options.warn(
        `W&B: ${reason(error)}; the run goes on, and its data are sent when the server is reachable again`,
      );
    }
    const { retry, longestRetry } = this.#timing;
    const asked = error instanceof WandbError ? error.retryAfter : undefined;
    return Math.min(longestRetry, asked ?? retry * 2 ** Math.min(this.#failures++, 30));
  }

  #giveUp(error: WandbError): void {
    this.#state = "refused";
    this.#outbox.clear();
    this.#options.warn(`W&B: ${error.message}; the run goes on, and nothing more is sent`);
  }

  /** Ends early when the run ends. */
  #pause(milliseconds: number): Promise<void> {
    const ending = this.#exitCode !== undefined;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#stop.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ending ? Math.min(milliseconds, LONGEST_RETRY_AT_END) : milliseconds);
      // Pending logs must not keep the process alive.
      if (!ending) timer.unref();
      this.#stop.signal.addEventListener("abort", done);
      this.#wake = done;
    });
  }
}

function isRefusal(error: unknown): error is WandbError {
  return error instanceof WandbError && error.kind === "refused";
}

function reason(error: unknown): string {
  return isError(error) ? error.message.split("\n", 1)[0]! : String(error);
}
