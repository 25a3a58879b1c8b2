import { InstructPix2PixError } from "../../errors.js";
import type { DownloadProgress } from "../../hub.js";
import type { CommandIo } from "../command.js";
import { describeFailure } from "../failure.js";
import type { EditReporter, EditSummary, ReporterOptions, StepEvent } from "./reporter.js";

/**
 * One JSON object per line on standard output, each with an `event`; the last one is `done` or `error`. Sizes are in
 * bytes, times in seconds. `--quiet` leaves only the last line, `--no_progress` leaves out steps and downloads.
 */
export class JsonReporter implements EditReporter {
  readonly #options: ReporterOptions;
  readonly #stdout: CommandIo["stdout"];

  constructor(options: ReporterOptions, io: Pick<CommandIo, "stdout">) {
    this.#options = options;
    this.#stdout = io.stdout;
  }

  downloading(progress: DownloadProgress): void {
    if (!this.#options.progress) return;
    this.#emit("downloading", {
      file: progress.file,
      downloaded_bytes: progress.downloadedBytes,
      total_bytes: progress.totalBytes,
      all_downloaded_bytes: progress.allDownloadedBytes,
      all_total_bytes: progress.allTotalBytes,
    });
  }

  loading(folder: string): void {
    this.#emit("loading", { folder });
  }

  loaded(seconds: number): void {
    this.#emit("loaded", { seconds: rounded(seconds) });
  }

  step({ step, totalSteps, timestep, stepsPerSecond }: StepEvent): void {
    if (!this.#options.progress) return;
    this.#emit("step", { step, total_steps: totalSteps, timestep, steps_per_second: rounded(stepsPerSecond) });
  }

  warning(message: string): void {
    this.#emit("warning", { message });
  }

  detail(message: string): void {
    if (this.#options.verbose) this.#emit("detail", { message });
  }

  done(summary: EditSummary): void {
    const { outputs, width, height, seed, scheduler, device, dtype, steps, seconds } = summary;
    this.#write("done", {
      outputs,
      ...{ width, height },
      // As a text where a JavaScript number could not hold it.
      seed: seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : String(seed),
      ...{ scheduler, device, dtype, steps },
      steps_per_second: rounded(summary.stepsPerSecond),
      load_seconds: rounded(seconds.load),
      edit_seconds: rounded(seconds.edit),
      total_seconds: rounded(seconds.total),
      peak_memory_bytes: summary.peakMemory,
      // Left out on the CPU.
      peak_device_memory_bytes: summary.peakDeviceMemory,
    });
  }

  failed(error: unknown): void {
    const code = error instanceof InstructPix2PixError ? error.code : "ERR_INTERNAL";
    this.#write("error", { code, message: describeFailure(error, false) });
  }

  stop(): void {}

  #emit(event: string, fields: object): void {
    if (!this.#options.quiet) this.#write(event, fields);
  }

  #write(event: string, fields: object): void {
    this.#stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
  }
}

/** To milliseconds, or a thousandth of what it counts; null for what is not known. */
function rounded(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value * 1000) / 1000;
}
