import cliProgress from "cli-progress";
import type { LoadProgress } from "../../components/load-progress.js";
import type { DownloadProgress } from "../../hub/index.js";
import type { RunProgress } from "../../pipelines/run-options.js";
import type { CommandIo } from "../command.js";
import { LineReporter } from "./line-reporter.js";
import type { PictureReporter, PictureSummary, ReporterOptions, StepEvent } from "./reporter.js";
import { rateText, secondsText, stepsText, tileText } from "./text.js";

/** A progress bar on standard error, a terminal; everything else as lines. */
export class BarReporter implements PictureReporter {
  readonly #lines: LineReporter;
  readonly #stderr: CommandIo["stderr"];
  readonly #doing: string;
  #bar: cliProgress.SingleBar | undefined;
  #what = "";
  #folder = "";
  #encoded = "";

  constructor(options: ReporterOptions, io: Pick<CommandIo, "stdout" | "stderr">) {
    this.#lines = new LineReporter({ ...options, progress: false }, io);
    this.#stderr = io.stderr;
    this.#doing = options.activity.doing;
  }

  downloading({ file, allDownloadedBytes: done, allTotalBytes: total }: DownloadProgress): void {
    const megabytes = (bytes: number) => Math.round(bytes / 1e6);
    this.#show("downloading", Math.max(1, total), done, `${megabytes(done)}/${megabytes(total)} MB | ${file}`);
  }

  loading(folder: string): void {
    this.#folder = folder;
    this.#show("loading", 1, 0, folder);
  }

  loaded(_seconds: number, steps: number | undefined): void {
    this.#encoded = `what is given${steps === undefined ? "" : `, for ${stepsText(steps)}`}`;
    this.#show("encoding", 1, 0, this.#encoded, true);
  }

  stage({ stage, fraction }: LoadProgress | RunProgress): void {
    if (stage === "load") this.#show("loading", 1, fraction ?? 0, this.#folder);
    // How long they take is not known, so the time that has passed is shown.
    if (stage === "encode") this.#show("encoding", 1, 0, this.#encoded, true);
    if (stage === "decode") this.#show("decoding", 1, fraction ?? 0, "the result", true);
  }

  step({ step, totalSteps, tile = 1, tiles = 1, stepsPerSecond }: StepEvent): void {
    const left = stepsPerSecond === undefined ? undefined : (totalSteps - step) / stepsPerSecond;
    const pace = left === undefined ? "" : ` | ${rateText(stepsPerSecond!)} | ${secondsText(left)} left`;
    this.#show(this.#doing, totalSteps, step, `${tileText(tile, tiles)}${step}/${totalSteps}${pace}`);
  }

  warning(text: string): void {
    this.#clear();
    this.#lines.warning(text);
  }

  note(text: string): void {
    this.#clear();
    this.#lines.note(text);
  }

  detail(text: string): void {
    this.#clear();
    this.#lines.detail(text);
  }

  done(summary: PictureSummary): void {
    this.#clear();
    this.#lines.done(summary);
  }

  failed(): void {
    this.#clear();
  }

  stop(): void {
    this.#clear();
  }

  #show(what: string, total: number, value: number, note: string, timed = false): void {
    if (what !== this.#what) this.#clear();
    this.#what = what;
    if (this.#bar) {
      this.#bar.setTotal(total);
      this.#bar.update(value, { note });
      return;
    }
    this.#bar = new cliProgress.SingleBar(
      {
        format: `${what} {bar} {note}${timed ? " | {duration_formatted}" : ""}`,
        stream: this.#stderr as NodeJS.WriteStream,
        barsize: 30,
        hideCursor: true,
        clearOnComplete: true,
      },
      cliProgress.Presets.shades_classic,
    );
    this.#bar.start(total, value, { note });
  }

  /** Removes the bar, so that a line can follow. */
  #clear(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
