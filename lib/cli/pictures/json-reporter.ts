import type { LoadProgress } from "../../components/load-progress.js";
import type { DownloadProgress } from "../../hub/index.js";
import type { RunProgress } from "../../pipelines/run-options.js";
import type { CommandIo } from "../command.js";
import { JsonLines, rounded } from "../json-lines.js";
import type { PictureReporter, PictureSummary, ReporterOptions, StepEvent } from "./reporter.js";

/** Reports as {@link JsonLines}. */
export class JsonReporter implements PictureReporter {
  readonly #verbose: boolean;
  readonly #name: string;
  readonly #lines: JsonLines;

  constructor(options: ReporterOptions, io: Pick<CommandIo, "stdout">) {
    this.#verbose = options.verbose;
    this.#name = options.activity.name;
    this.#lines = new JsonLines(options, io, options.activity.options);
  }

  downloading(progress: DownloadProgress): void {
    this.#lines.progress("downloading", {
      file: progress.file,
      downloaded_bytes: progress.downloadedBytes,
      total_bytes: progress.totalBytes,
      all_downloaded_bytes: progress.allDownloadedBytes,
      all_total_bytes: progress.allTotalBytes,
    });
  }

  loading(folder: string): void {
    this.#lines.event("loading", { folder });
  }

  loaded(seconds: number, steps: number | undefined): void {
    this.#lines.event("loaded", { seconds: rounded(seconds), num_inference_steps: steps });
  }

  stage(progress: LoadProgress | RunProgress): void {
    const { stage, fraction } = progress;
    // Steps have an event of their own.
    if (stage === "denoise" && fraction !== 0) return;
    this.#lines.progress("stage", { stage, fraction: rounded(fraction) });
  }

  step({ step, totalSteps, tile = 1, tiles = 1, timestep, stepsPerSecond }: StepEvent): void {
    this.#lines.progress("step", {
      ...(tiles > 1 && { tile, tiles }),
      ...{ step, timestep },
      total_steps: totalSteps,
      steps_per_second: rounded(stepsPerSecond),
    });
  }

  warning(message: string): void {
    this.#lines.event("warning", { message });
  }

  note(message: string): void {
    this.#lines.event("note", { message });
  }

  detail(message: string): void {
    if (this.#verbose) this.#lines.event("detail", { message });
  }

  done(summary: PictureSummary): void {
    const { outputs, nsfw, pipeline, refiner, width, height, seed, scheduler, device, dtype, steps, seconds } = summary;
    this.#lines.done({
      ...{ outputs, nsfw, pipeline, refiner, width, height, seed, scheduler, device, dtype, steps },
      steps_per_second: rounded(summary.stepsPerSecond),
      load_seconds: rounded(seconds.load),
      [`${this.#name}_seconds`]: rounded(seconds.run),
      total_seconds: rounded(seconds.total),
      peak_memory_bytes: summary.peakMemory,
      // Left out on the CPU.
      peak_device_memory_bytes: summary.peakDeviceMemory,
    });
  }

  failed(error: unknown): void {
    this.#lines.failed(error);
  }

  stop(): void {}
}
