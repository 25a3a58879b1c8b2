import { underscored } from "../../options/names.js";
import type { StepRecord, TrainEvent, TrainResult } from "../../training/events.js";
import { trackedValues } from "../../training/trackers.js";
import type { CommandIo } from "../command.js";
import { JsonLines, type JsonLinesOptions } from "../json-lines.js";
import { trainCommandOptions } from "./options.js";
import type { TrainReporter } from "./reporter.js";

/** Frequent progress events. */
const PROGRESS: readonly TrainEvent["type"][] = ["preparing", "caching", "checking", "publishing"];

/** Reports a training run as {@link JsonLines}: steps as in metrics.jsonl, events and the result as from `train`. */
export class JsonReporter implements TrainReporter {
  readonly #lines: JsonLines;

  constructor(options: JsonLinesOptions, io: Pick<CommandIo, "stdout">) {
    this.#lines = new JsonLines(options, io, trainCommandOptions);
  }

  event({ type, ...fields }: TrainEvent): void {
    if (PROGRESS.includes(type)) this.#lines.progress(type, withUnderscores(fields));
    else this.#lines.event(type, withUnderscores(fields));
  }

  step(record: StepRecord): void {
    this.#lines.progress("step", { step: record.step, ...trackedValues(record) });
  }

  done(result: TrainResult): void {
    this.#lines.done(withUnderscores({ ...result, trainLoss: result.trainLoss ?? null }));
  }

  failed(error: unknown): void {
    this.#lines.failed(error);
  }

  stop(): void {}
}

function withUnderscores(fields: object): object {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [underscored(name), value]));
}
