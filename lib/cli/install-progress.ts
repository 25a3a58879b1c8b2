import cliProgress from "cli-progress";
import type { InstallEvent } from "../runtime/libtorch/progress.js";
import type { CommandIo } from "./command.js";

/** Shows an installation's events on standard error: a bar on a terminal, else a line for every tenth of a file. */
export class InstallProgress {
  readonly #stream: CommandIo["stderr"];
  #bar: cliProgress.SingleBar | undefined;
  #file = "";
  #tenth = -1;

  constructor(stream: CommandIo["stderr"]) {
    this.#stream = stream;
  }

  readonly onEvent = (event: InstallEvent): void => {
    if (event.type === "message") {
      this.stop();
      this.#stream.write(`${event.text}\n`);
      return;
    }
    const { phase, file, done, total } = event;
    const key = `${phase} ${file}`;
    if (key !== this.#file) {
      this.stop();
      this.#file = key;
      this.#tenth = -1;
      if (this.#stream.isTTY && total !== undefined) this.#bar = this.#startBar(phase, total);
    }
    const megabytes = Math.round(done / 1e6);
    if (this.#bar) this.#bar.update(megabytes);
    else if (total !== undefined && total >= 10e6) {
      const tenth = Math.floor((10 * done) / total);
      if (tenth > this.#tenth && tenth > 0)
        this.#stream.write(`${phase} ${file}: ${tenth * 10} % of ${Math.round(total / 1e6)} MB\n`);
      this.#tenth = Math.max(this.#tenth, tenth);
    }
  };

  /** Ends a bar, so that lines can follow. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#file = "";
  }

  #startBar(phase: string, total: number): cliProgress.SingleBar {
    const bar = new cliProgress.SingleBar(
      {
        format: `${phase} {bar} {percentage}% | {value}/{total} MB | {eta_formatted}`,
        stream: this.#stream,
        hideCursor: true,
      },
      cliProgress.Presets.shades_classic,
    );
    bar.start(Math.max(1, Math.round(total / 1e6)), 0);
    return bar;
  }
}
