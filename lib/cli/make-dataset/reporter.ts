import { Presets, SingleBar } from "cli-progress";
import type { CommandIo } from "../command.js";
import { JsonLines, rounded } from "../json-lines.js";
import { makeDatasetOptions } from "./options.js";

/** What was made. */
export interface DatasetSummary {
  output: string;
  format: string;
  rows: number;
  seed: number;
  size: number;
  seconds: number;
}

/** Reports progress to the user or a program. */
export interface MakeDatasetReporter {
  progress(done: number, total: number): void;
  done(summary: DatasetSummary): void;
  failed(error: unknown): void;
  /** Restores the terminal. */
  stop(): void;
}

export interface MakeDatasetReporterOptions {
  json: boolean;
  progress: boolean;
  quiet: boolean;
}

type Io = Pick<CommandIo, "stdout" | "stderr">;

/** A bar where standard error is a terminal, plain lines elsewhere, JSON if asked for. */
export function createMakeDatasetReporter(options: MakeDatasetReporterOptions, io: Io): MakeDatasetReporter {
  if (options.json) return new JsonReporter(options, io);
  const shows = options.progress && !options.quiet;
  return shows && io.stderr.isTTY ? new BarReporter(io) : new LineReporter({ ...options, progress: shows }, io);
}

/** Is true for about one row in a hundred, or in ten, and for the last. */
function isPart(done: number, total: number, parts: number): boolean {
  return Math.floor((done * parts) / total) > Math.floor(((done - 1) * parts) / total);
}

function summaryText({ output, rows, seconds }: DatasetSummary): string {
  return `${output}: ${rows} pairs in ${seconds.toFixed(1)} s`;
}

/** Reports as {@link JsonLines}. */
class JsonReporter implements MakeDatasetReporter {
  readonly #lines: JsonLines;

  constructor(options: MakeDatasetReporterOptions, io: Io) {
    this.#lines = new JsonLines(options, io, makeDatasetOptions);
  }

  progress(done: number, total: number): void {
    if (isPart(done, total, 100)) this.#lines.progress("progress", { done, total });
  }

  done({ seconds, ...summary }: DatasetSummary): void {
    this.#lines.done({ ...summary, seconds: rounded(seconds) });
  }

  failed(error: unknown): void {
    this.#lines.failed(error);
  }

  stop(): void {}
}

/** Ten plain lines, and one at the end. */
class LineReporter implements MakeDatasetReporter {
  constructor(
    readonly options: MakeDatasetReporterOptions,
    readonly io: Io,
  ) {}

  progress(done: number, total: number): void {
    if (this.options.progress && done < total && isPart(done, total, 10))
      this.io.stdout.write(`${done} of ${total} pairs\n`);
  }

  done(summary: DatasetSummary): void {
    if (!this.options.quiet) this.io.stdout.write(`${summaryText(summary)}\n`);
  }

  failed(): void {}
  stop(): void {}
}

/** A bar on a terminal. */
class BarReporter implements MakeDatasetReporter {
  readonly #io: Io;
  #bar: SingleBar | undefined;

  constructor(io: Io) {
    this.#io = io;
  }

  progress(done: number, total: number): void {
    if (!this.#bar) {
      this.#bar = new SingleBar(
        {
          format: "drawing {bar} {value}/{total} pairs | {eta_formatted} left",
          stream: this.#io.stderr as NodeJS.WriteStream,
          hideCursor: true,
          clearOnComplete: true,
          etaBuffer: 200,
        },
        Presets.shades_classic,
      );
      this.#bar.start(total, done);
    } else this.#bar.update(done);
  }

  done(summary: DatasetSummary): void {
    this.stop();
    this.#io.stdout.write(`${summaryText(summary)}\n`);
  }

  failed(): void {}

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
