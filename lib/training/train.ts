import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkKnown, optionNames } from "../core/known-options.js";
import { camelCase } from "../options/names.js";
import { resolveOptions } from "../options/parse.js";
import { Callbacks } from "./callbacks.js";
import type { StepRecord, TrainEvent, TrainResult } from "./events.js";
import { trainOptions } from "./options.js";
import { runSession } from "./session.js";
import type { TrainInput } from "./train-input.js";

export interface TrainCallbacks {
  /**
   * Stops the run within a micro-step. Saves a checkpoint of the last step, then the run rejects with `ERR_ABORTED`.
   */
  signal?: AbortSignal;
  /**
   * Called and awaited after every optimizer step. If it throws, the run saves a checkpoint and rejects with the same
   * error.
   */
  onStep?: (record: StepRecord) => void | Promise<void>;
  /**
   * Receives all other events: loading, checkpoints, validation, warnings. Without it warnings are process warnings. If
   * it throws, the run ends as with `onStep`; an async callback is not awaited.
   */
  onEvent?: (event: TrainEvent) => void | Promise<void>;
}

const CALLBACKS = optionNames<TrainCallbacks>()({ signal: true, onStep: true, onEvent: true });

const KNOWN = { ...CALLBACKS, ...Object.fromEntries(Object.keys(trainOptions).map((name) => [camelCase(name), true])) };

/** A running training: a promise of its result, and an async iterable of its steps. */
export interface TrainingRun extends Promise<TrainResult>, AsyncIterable<StepRecord> {}

/**
 * Trains an InstructPix2Pix model, as diffusers' `train_instruct_pix2pix.py` does, and with a Stable Diffusion XL base model
 * `train_instruct_pix2pix_sdxl.py`: same options (in camelCase), same defaults, same recipe (Brooks et al. 2023, https://arxiv.org/abs/2211.09800). The result, a pipeline folder that
 * diffusers loads as well, is in `outputDir` when the promise resolves.
 *
 * @example
 * const run = train({ pretrainedModelNameOrPath: "base", trainDataDir: "pairs", outputDir: "mine", maxTrainSteps: 1000 });
 * for await (const { step, trainLoss } of run) console.log(step, trainLoss);
 * const { outputDir } = await run;
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option, `ERR_IN_USE`, `ERR_DATASET`, `ERR_CHECKPOINT`, `ERR_CONFIG` (also for options that
 *   differ from those of the checkpoint), `ERR_NOT_FINITE` naming the step, `ERR_IO`, `ERR_ABORTED`, `ERR_OUT_OF_MEMORY`,
 *   and what loading a pipeline throws
 */
export function train(input: TrainInput & TrainCallbacks): TrainingRun {
  const { signal, onStep, onEvent = warn, ...options } = input ?? {};
  const records = new RecordQueue();
  const result = (async () => {
    try {
      checkKnown(input, KNOWN);
      for (const [name, callback] of Object.entries({ onStep, onEvent }))
        if (callback !== undefined && typeof callback !== "function")
          throw new InstructPix2PixError(
            "ERR_INVALID_ARGUMENT",
            `${name} must be a function, not ${describe(callback)}`,
          );
      const callbacks = new Callbacks((record) => {
        records.push(record);
        return onStep?.(record);
      }, onEvent);
      const done = await runSession(resolveOptions(trainOptions, options), callbacks, signal);
      records.end();
      return done;
    } catch (error) {
      records.end({ error });
      throw error;
    }
  })();
  return Object.assign(result, {
    [Symbol.asyncIterator]: () => {
      // The iteration throws the run's error, so that the promise need not be awaited as well.
      result.catch(() => {});
      return records.iterate();
    },
  });
}

function warn(event: TrainEvent): void {
  if (event.type === "warning") process.emitWarning(event.message, { type: "InstructPix2PixWarning" });
}

/** Queues step records for the iterator; without one only the newest is kept. */
class RecordQueue {
  #records: StepRecord[] = [];
  #watched = false;
  #ended = false;
  /** In an object, since a callback may throw any value, including `undefined`. */
  #failure: { error: unknown } | undefined;
  #wake: (() => void) | undefined;

  push(record: StepRecord): void {
    if (!this.#watched) this.#records = [];
    this.#records.push(record);
    this.#wake?.();
  }

  end(failure?: { error: unknown }): void {
    this.#ended = true;
    this.#failure = failure;
    this.#wake?.();
  }

  async *iterate(): AsyncGenerator<StepRecord, void, undefined> {
    if (this.#watched)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "the steps of a run can be iterated over once");
    this.#watched = true;
    for (;;) {
      for (let record = this.#records.shift(); record; record = this.#records.shift()) yield record;
      if (this.#ended) break;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure) throw this.#failure.error;
  }
}
