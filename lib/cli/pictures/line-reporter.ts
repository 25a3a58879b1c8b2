import type { LoadProgress } from "../../components/load-progress.js";
import type { DownloadProgress } from "../../hub/index.js";
import type { RunProgress } from "../../pipelines/run-options.js";
import type { CommandIo } from "../command.js";
import type { PictureReporter, PictureSummary, ReporterOptions, StepEvent } from "./reporter.js";
import { detailText, rateText, stepsText, summaryText, tileText } from "./text.js";

/** Milliseconds after which a line is due although less than a tenth of the steps is done. */
const PATIENCE = 10_000;
/** Bytes below which a download is not worth a line. */
const LARGE_DOWNLOAD = 10e6;

/** Plain lines on standard output, about ten for a whole run; warnings on standard error. */
export class LineReporter implements PictureReporter {
  readonly #options: ReporterOptions;
  readonly #io: Pick<CommandIo, "stdout" | "stderr">;
  #tenth = 0;
  #tile = 1;
  #lastLine = performance.now();

  constructor(options: ReporterOptions, io: Pick<CommandIo, "stdout" | "stderr">) {
    this.#options = options;
    this.#io = io;
  }

  downloading({ file, allDownloadedBytes: done, allTotalBytes: total }: DownloadProgress): void {
    const tenth = Math.floor((10 * done) / total);
    if (!this.#showsProgress || total < LARGE_DOWNLOAD || tenth <= this.#tenth) return;
    this.#tenth = tenth;
    this.#print(`downloading ${file}: ${tenth * 10} % of ${Math.round(total / 1e6)} MB`);
  }

  loading(folder: string): void {
    this.#tenth = 0;
    if (this.#showsProgress) this.#print(`loading ${folder}`);
  }

  loaded(_seconds: number, steps: number | undefined): void {
    if (this.#showsProgress && steps !== undefined)
      this.#print(`${this.#options.activity.doing} with ${stepsText(steps)}`);
    this.#lastLine = performance.now();
  }

  stage({ stage, fraction }: LoadProgress | RunProgress): void {
    if (!this.#showsProgress || fraction !== undefined) return;
    if (stage === "encode") this.#print("encoding");
    if (stage === "decode") this.#print("decoding");
  }

  step({ step, totalSteps, tile = 1, tiles = 1, stepsPerSecond }: StepEvent): void {
    if (!this.#showsProgress) return;
    if (step === 1) this.#tenth = 0; // a refiner counts anew
    const tenth = Math.floor((10 * step) / totalSteps);
    const begun = tile !== this.#tile;
    if (!begun && tenth <= this.#tenth && performance.now() - this.#lastLine < PATIENCE) return;
    this.#tile = tile;
    this.#tenth = tenth;
    this.#lastLine = performance.now();
    const pace = stepsPerSecond === undefined ? "" : `, ${rateText(stepsPerSecond)}`;
    this.#print(`${tileText(tile, tiles)}step ${step} of ${totalSteps}${pace}`);
  }

  warning(text: string): void {
    if (!this.#options.quiet) this.#io.stderr.write(`ip2p: warning: ${text}\n`);
  }

  note(text: string): void {
    if (!this.#options.quiet) this.#print(text);
  }

  detail(text: string): void {
    if (this.#options.verbose && !this.#options.quiet) this.#print(text);
  }

  done(summary: PictureSummary): void {
    this.detail(detailText(summary));
    if (!this.#options.quiet) this.#print(summaryText(summary));
  }

  failed(): void {}

  stop(): void {}

  get #showsProgress(): boolean {
    return this.#options.progress && !this.#options.quiet;
  }

  #print(line: string): void {
    this.#io.stdout.write(`${line}\n`);
  }
}
