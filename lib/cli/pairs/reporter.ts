import { Presets, SingleBar } from "cli-progress";
import type { OptionDeclarations } from "../../options/declaration.js";
import type { CommandIo } from "../command.js";
import { JsonLines } from "../json-lines.js";
import { type Reporter, showsBar } from "../reporting.js";

/** Reports to the user or a program how a command goes through pairs of images. */
export interface PairsReporter extends Reporter {
  progress(done: number, total: number): void;
  warning(message: string): void;
  /**
   * The result.
   *
   * @param text for people, of one or more lines
   * @param fields for programs
   */
  done(text: string, fields: object): void;
}

export interface PairsReporterOptions {
  json: boolean;
  progress: boolean;
  quiet: boolean;
  /** What is done with the pairs, for the bar: "drawing". */
  verb: string;
  /** The command's options, whose flags stand in messages of errors. */
  declarations: OptionDeclarations;
}

type Io = Pick<CommandIo, "stdout" | "stderr">;

/** A bar where standard error is a terminal, plain lines elsewhere, JSON if asked for. */
export function createPairsReporter(options: PairsReporterOptions, io: Io): PairsReporter {
  if (options.json) return new JsonReporter(options, io);
  return showsBar(options, io) ? new BarReporter(options, io) : new LineReporter(options, io);
}

/** Is true for about one row in a hundred, or in ten, and for the last. */
function isPart(done: number, total: number, parts: number): boolean {
  return Math.floor((done * parts) / total) > Math.floor(((done - 1) * parts) / total);
}

/** Reports as {@link JsonLines}. */
class JsonReporter implements PairsReporter {
  readonly #lines: JsonLines;

  constructor(options: PairsReporterOptions, io: Io) {
    this.#lines = new JsonLines(options, io, options.declarations);
  }

  progress(done: number, total: number): void {
    if (isPart(done, total, 100)) this.#lines.progress("progress", { done, total });
  }

  warning(message: string): void {
    this.#lines.event("warning", { message });
  }

  done(_: string, fields: object): void {
    this.#lines.done(fields);
  }

  failed(error: unknown): void {
    this.#lines.failed(error);
  }

  stop(): void {}
}

/** Ten plain lines, and the result. */
class LineReporter implements PairsReporter {
  constructor(
    readonly options: PairsReporterOptions,
    readonly io: Io,
  ) {}

  progress(done: number, total: number): void {
    const { progress, quiet } = this.options;
    if (progress && !quiet && done < total && isPart(done, total, 10))
      this.io.stdout.write(`${done} of ${total} pairs\n`);
  }

  warning(message: string): void {
    if (!this.options.quiet) this.io.stderr.write(`ip2p: warning: ${message}\n`);
  }

  done(text: string): void {
    if (!this.options.quiet) this.io.stdout.write(`${text}\n`);
  }

  failed(): void {}
  stop(): void {}
}

/** A bar on a terminal. */
class BarReporter implements PairsReporter {
  readonly #verb: string;
  readonly #io: Io;
  #bar: SingleBar | undefined;
  /** Shown at the end, since they would tear the bar. */
  readonly #warnings: string[] = [];

  constructor({ verb }: PairsReporterOptions, io: Io) {
    this.#verb = verb;
    this.#io = io;
  }

  progress(done: number, total: number): void {
    if (!this.#bar) {
      this.#bar = new SingleBar(
        {
          format: `${this.#verb} {bar} {value}/{total} pairs | {eta_formatted} left`,
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

  warning(message: string): void {
    this.#warnings.push(message);
  }

  done(text: string): void {
    this.stop();
    this.#io.stdout.write(`${text}\n`);
  }

  failed(): void {}

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    for (const message of this.#warnings.splice(0)) this.#io.stderr.write(`ip2p: warning: ${message}\n`);
  }
}
