import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import type { FactorOfStep } from "../options/declaration.js";
import { createLrSchedule, type LrSchedule, type LrScheduleName, type LrScheduleOptions } from "./lr-schedule.js";
import { parseStepRules } from "./lr-step-rules.js";
import type { PreparedRun } from "./prepare.js";
import { processesOf } from "./processes.js";

/** All in optimizer steps, independent of the number of processes. */
export interface LearningRateOptions extends Pick<LrScheduleOptions, "numCycles" | "power" | "lrEnd" | "stepRules"> {
  schedule: LrScheduleName | FactorOfStep;
  /** The base rate, after `scale_lr`. */
  learningRate: number;
  /** Default 0. */
  warmupSteps?: number | undefined;
  /** Optimizer steps of the whole run. */
  trainingSteps: number;
  /** Default 1. */
  numProcesses?: number | undefined;
}

/**
 * The learning rate of a run, step by step. As in diffusers' scripts the schedule makes one step per process for every
 * optimizer step, and its warm-up and total are multiplied by the number of processes, so that its shape over
 * optimizer steps stays the same. An optimizer step that was skipped because float16 gradients overflowed does not
 * advance it.
 */
export class LearningRate {
  readonly #schedule: LrSchedule;
  readonly #learningRate: number;
  readonly #numProcesses: number;
  #step = 0;

  /** @throws `ERR_INVALID_ARGUMENT` for a negative or non-finite rate, or options that the schedule does not support */
  constructor(options: LearningRateOptions) {
    const { learningRate, numProcesses = 1, stepRules } = options;
    if (!(learningRate >= 0 && Number.isFinite(learningRate)))
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `the learning rate must be a number of at least 0, not ${learningRate}`,
      );
    if (!Number.isSafeInteger(numProcesses) || numProcesses < 1)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `the number of processes must be at least 1, not ${numProcesses}`,
      );
    this.#learningRate = learningRate;
    this.#numProcesses = numProcesses;
    const { schedule, trainingSteps } = options;
    if (typeof schedule === "function") {
      this.#schedule = (step) => checkedFactor(schedule, step / numProcesses, trainingSteps);
      return;
    }
    this.#schedule = createLrSchedule(schedule, {
      numCycles: options.numCycles,
      power: options.power,
      lrEnd: options.lrEnd,
      learningRate,
      numWarmupSteps: (options.warmupSteps ?? 0) * numProcesses,
      numTrainingSteps: trainingSteps * numProcesses,
      stepRules: stepRules === undefined ? undefined : stretched(stepRules, numProcesses),
    });
  }

  /**
   * The learning rate for the next optimizer step.
   *
   * @throws `ERR_INVALID_ARGUMENT` for a function that gives no factor, or what the function throws
   */
  get current(): number {
    return this.#learningRate * this.#schedule(this.#step);
  }

  /** Advances after an optimizer step that was not skipped. */
  advance(): void {
    this.#step += this.#numProcesses;
  }

  /** For a checkpoint. */
  get state(): { step: number } {
    return { step: this.#step };
  }

  /** Restores the state of a checkpoint. */
  restore({ step }: { step: number }): void {
    this.#step = step;
  }
}

/** The learning rate of a new or resumed run. */
export function learningRateOf({
  options,
  totalSteps,
  resumed,
  rules,
  group,
}: Pick<PreparedRun, "options" | "totalSteps" | "resumed" | "rules" | "group">): LearningRate {
  const scale = options.scaleLr ? options.gradientAccumulationSteps * options.trainBatchSize * group.size : 1;
  const rate = new LearningRate({
    schedule: options.lrScheduler,
    learningRate: options.learningRate * scale,
    warmupSteps: options.lrWarmupSteps * rules.lrHorizon,
    // A function is given the steps that are made.
    trainingSteps: typeof options.lrScheduler === "function" ? totalSteps : totalSteps * rules.lrHorizon,
    numCycles: options.lrNumCycles,
    power: options.lrPower,
    stepRules: options.lrStepRules,
    numProcesses: group.size,
  });
  // diffusers' scheduler state is a pickle and is not read: one schedule step per optimizer step is assumed.
  const done = resumed && (resumed.state ? resumed.state.learningRate.step / processesOf(resumed.state) : resumed.step);
  if (done !== undefined) rate.restore({ step: done * group.size });
  return rate;
}

function checkedFactor(schedule: FactorOfStep, step: number, total: number): number {
  const factor: unknown = schedule(step, total);
  if (typeof factor === "number" && Number.isFinite(factor) && factor >= 0) return factor;
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `lrScheduler must return a finite number of at least 0, not ${describe(factor)} (step ${step} of ${total})`,
  );
}

/** The same rules for a schedule that makes several steps at once. */
function stretched(stepRules: string, factor: number): string {
  const { pieces, last } = parseStepRules(stepRules);
  return [...pieces.map(({ multiplier, end }) => `${multiplier}:${end * factor}`), last].join(",");
}
