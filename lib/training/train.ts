import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkKnown, optionNames } from "../core/known-options.js";
import { logWarning } from "../core/logger.js";
import { camelCase } from "../options/names.js";
import { resolveOptions } from "../options/parse.js";
import { Callbacks } from "./callbacks.js";
import type { StepRecord, TrainEvent, TrainResult } from "./events.js";
import { trainOptions } from "./options.js";
import { runSession } from "./session.js";
import type { TrainInput } from "./train-input.js";

/** Functions that a training run calls. */
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

/**
 * A running training: a promise of its result, and an async iterable of its steps.
 *
 * Iterating yields the record of every step from the run's first one on, also if it begins later, or for a second time.
 * It does not slow training down: steps that are made meanwhile are kept. (`onStep` is awaited, and does.) Leaving the loop
 * leaves the run alone. When the run ends, so does the loop, with the run's error if there is one.
 *
 * @example
 * ```js
 * import { train } from "instruct-pix2pix";
 *
 * const run = train({ pretrainedModelNameOrPath: "./base", trainDataDir: "./pairs", outputDir: "./mine", maxTrainSteps: 15000 });
 * for await (const { trainLoss } of run) if (trainLoss < 0.01) run.stop();
 * const { step, stopped } = await run;
 * console.log(step, stopped);
 * ```
 */
export interface TrainingRun extends Promise<TrainResult>, AsyncIterable<StepRecord> {
  /**
   * Ends the run early, but in good order: after the step that is being made, or the first one if there is none yet, a
   * checkpoint is written, and then everything is done that is done after the last step. The promise resolves with
   * `stopped: true`, and the output folder has the model of that step. The run can be resumed. Later calls, and calls after
   * the end, do nothing. To end a run at once, abort its `signal`: then no model is saved, and the promise rejects.
   */
  stop(): void;
}

/**
 * Trains an InstructPix2Pix model, as diffusers' `train_instruct_pix2pix.py` does, and with a Stable Diffusion XL base model
 * `train_instruct_pix2pix_sdxl.py`: same options (in camelCase), same defaults, same recipe (Brooks et al. 2023, https://arxiv.org/abs/2211.09800). The result, a pipeline folder that
 * diffusers loads as well, is in `outputDir` when the promise resolves.
 *
 * @example
 * ```js
 * import { train } from "instruct-pix2pix";
 *
 * const run = train({ pretrainedModelNameOrPath: "./base", trainDataDir: "./pairs", outputDir: "./mine", maxTrainSteps: 15000 });
 * for await (const { step, trainLoss } of run) console.log(step, trainLoss);
 * const { outputDir } = await run;
 * console.log(outputDir);
 * ```
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option, `ERR_IN_USE`, `ERR_DATASET`, `ERR_CHECKPOINT`, `ERR_CONFIG` (also for options that
 *   differ from those of the checkpoint), `ERR_NOT_FINITE` naming the step, `ERR_IO`, `ERR_ABORTED`, `ERR_OUT_OF_MEMORY`,
 *   and what loading a pipeline throws
 */
export function train(input: TrainInput & TrainCallbacks): TrainingRun {
  const { signal, onStep, onEvent = warn, ...options } = input ?? {};
  const records = new StepRecords();
  const stop = { requested: false };
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
      const done = await runSession(resolveOptions(trainOptions, options), callbacks, signal, stop);
      records.end();
      return done;
    } catch (error) {
      records.end({ error });
      throw error;
    }
  })();
  return Object.assign(result, {
    stop: () => {
      stop.requested = true;
    },
    [Symbol.asyncIterator]: () => {
      // The iteration throws the run's error, so that the promise need not be awaited as well.
      result.catch(() => {});
      return records.iterate();
    },
  });
}

function warn(event: TrainEvent): void {
  if (event.type === "warning") logWarning(event.message);
}

/** The records of a run's steps so far, for any number of iterators. */
class StepRecords {
  readonly #records: StepRecord[] = [];
  #ended = false;
  /** In an object, since a callback may throw any value, including `undefined`. */
  #failure: { error: unknown } | undefined;
  /** The iterators that wait for the next record. */
  #wake: (() => void)[] = [];

  push(record: StepRecord): void {
    this.#records.push(record);
    this.#wakeAll();
  }

  end(failure?: { error: unknown }): void {
    this.#ended = true;
    this.#failure = failure;
    this.#wakeAll();
  }

  async *iterate(): AsyncGenerator<StepRecord, void, undefined> {
    for (let next = 0; ; ) {
      while (next < this.#records.length) yield this.#records[next++]!;
      if (this.#ended) break;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    if (this.#failure) throw this.#failure.error;
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
