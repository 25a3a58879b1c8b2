import { Presets, SingleBar } from "cli-progress";
import type { StepRecord, TrainEvent, TrainResult } from "../../training/events.js";
import type { CommandIo } from "../command.js";
import { type Reporter, showsBar } from "../reporting.js";
import { JsonReporter } from "./json-reporter.js";

/** Reports a run to the user or a program. */
export interface TrainReporter extends Reporter {
  event(event: TrainEvent): void;
  step(record: StepRecord): void;
  done(result: TrainResult): void;
}

export interface TrainReporterOptions {
  json: boolean;
  progress: boolean;
  quiet: boolean;
}

type Io = Pick<CommandIo, "stdout" | "stderr">;

/** A bar where standard error is a terminal, plain lines elsewhere, JSON if asked for. */
export function createTrainReporter(options: TrainReporterOptions, io: Io): TrainReporter {
  if (options.json) return new JsonReporter(options, io);
  return showsBar(options, io) ? new BarTrainReporter(io) : new LineTrainReporter(options.quiet, io);
}

/** An event as a line of text; undefined for events that only programs need. */
function wordsOf(event: TrainEvent): string | undefined {
  switch (event.type) {
    case "loading":
      return `loading ${event.what}`;
    case "resumed":
      return `going on from ${event.checkpoint}`;
    case "started":
      return `training on ${event.rows} pairs for ${event.totalSteps} steps (${event.epochs} epochs) on ${event.device}, seed ${event.seed}`;
    case "checkpoint":
      return `saved ${event.path} in ${event.seconds.toFixed(1)} s`;
    case "validation":
      return `validation after step ${event.step}: ${event.files.join(", ")}`;
    case "published":
      return `uploaded to ${event.url}`;
    case "saved":
      return `the model is in ${event.path}`;
    default:
      return undefined;
  }
}

function numbersOf({ trainLoss, lr, samplesPerSecond, dataSeconds }: StepRecord): string {
  return `loss ${trainLoss.toFixed(4)}  lr ${lr.toExponential(2)}  ${samplesPerSecond.toFixed(2)} samples/s  waited ${dataSeconds.toFixed(2)} s`;
}

/** At most this many seconds between two lines of steps. */
const LINE_INTERVAL = 5;

const PREPARING = { download: "downloading", unpack: "unpacking", sizes: "reading sizes" } as const;

/** Plain lines, with steps at intervals. */
class LineTrainReporter implements TrainReporter {
  readonly #quiet: boolean;
  readonly #io: Io;
  #lastLine = 0;
  #totalSteps = 0;

  constructor(quiet: boolean, io: Io) {
    this.#quiet = quiet;
    this.#io = io;
  }

  event(event: TrainEvent): void {
    if (event.type === "warning") this.#io.stderr.write(`ip2p: warning: ${event.message}\n`);
    if (event.type === "started") this.#totalSteps = event.totalSteps;
    const words = wordsOf(event);
    if (words !== undefined && !this.#quiet) this.#io.stdout.write(`${words}\n`);
  }

  step(record: StepRecord): void {
    const now = performance.now() / 1000;
    if (this.#quiet || (now - this.#lastLine < LINE_INTERVAL && record.step !== this.#totalSteps)) return;
    this.#lastLine = now;
    this.#io.stdout.write(`step ${record.step}/${this.#totalSteps}  ${numbersOf(record)}\n`);
  }

  done(result: TrainResult): void {
    if (!this.#quiet && result.skippedRows > 0) this.#io.stdout.write(`${result.skippedRows} rows could not be used\n`);
  }

  failed(): void {}
  stop(): void {}
}

/** A bar with loss, rate and time left. */
class BarTrainReporter implements TrainReporter {
  readonly #io: Io;
  readonly #bar: SingleBar;
  #running = false;

  constructor(io: Io) {
    this.#io = io;
    this.#bar = new SingleBar(
      {
        format: "{bar} {value}/{total}  {numbers}  {eta_formatted} left",
        stream: io.stderr as NodeJS.WriteStream,
        hideCursor: true,
        etaBuffer: 50,
      },
      Presets.shades_classic,
    );
  }

  event(event: TrainEvent): void {
    const words = event.type === "warning" ? `warning: ${event.message}` : wordsOf(event);
    if (words !== undefined) this.#say(words);
    if (event.type === "caching") this.#progress("encoding images", event);
    if (event.type === "checking") this.#progress("reading pairs", event);
    if (event.type === "publishing")
      this.#progress(`uploading ${event.file}`, { done: event.doneBytes, total: event.totalBytes });
    if (event.type === "preparing") this.#progress(PREPARING[event.stage], event);
    if (event.type !== "started") return;
    this.stop();
    this.#bar.start(event.totalSteps, event.step, { numbers: "" });
    this.#running = true;
  }

  #progress(what: string, { done, total }: { done: number; total: number }): void {
    if (!this.#running) this.#bar.start(total, 0, { numbers: what });
    this.#running = true;
    this.#bar.setTotal(total);
    this.#bar.update(done, { numbers: what });
  }

  step(record: StepRecord): void {
    this.#bar.update(record.step, { numbers: numbersOf(record) });
  }

  done(result: TrainResult): void {
    this.stop();
    if (result.skippedRows > 0) this.#say(`${result.skippedRows} rows could not be used`);
  }

  failed(): void {
    this.stop();
  }

  stop(): void {
    if (this.#running) this.#bar.stop();
    this.#running = false;
  }

  /** A line above the bar. */
  #say(words: string): void {
    if (this.#running) this.#io.stderr.write("\r\x1b[K");
    this.#io.stderr.write(`${words}\n`);
  }
}
