import type { Tensor } from "../core/tensor.js";
import { boolean, choice, integer } from "./config.js";
import { type DpmSolverUpdate, dpmSolverUpdate } from "./dpm-solver-update.js";
import { drawNoise, evaluate, withTemporaries } from "./expression.js";
import { History } from "./history.js";
import { type Level, possibleOrder } from "./level.js";
import type { StepOptions } from "./options.js";
import { thresholdKeys } from "./threshold.js";

/** The keys of all DPM-Solvers that say how steps are taken. */
export const dpmSolverKeys = {
  solver_order: integer(2, { min: 1, max: 3 }),
  ...thresholdKeys,
  solver_type: choice(["midpoint", "heun"], "midpoint", { logrho: "midpoint", bh1: "midpoint", bh2: "midpoint" }),
  lower_order_final: boolean(true),
  euler_at_final: boolean(false),
  final_sigmas_type: choice(["zero", "sigma_min"], "zero"),
};

/** Schedules with fewer steps than this end with steps of lower order (`lower_order_final`). */
const FEW_STEPS = 15;

export interface DpmSolverSettings {
  readonly solver_order: number;
  readonly algorithm_type: DpmSolverUpdate["algorithm"];
  readonly solver_type: DpmSolverUpdate["solver"];
  readonly lower_order_final: boolean;
  readonly euler_at_final: boolean;
  readonly final_sigmas_type: "zero" | "sigma_min";
}

/** One step of a run. */
export interface DpmSolverStep {
  /** The prediction of the data, or of the noise for the algorithms that integrate it; the run takes it over. */
  prediction: Tensor;
  sample: Tensor;
  /** The levels of the run by their index. */
  level: (index: number) => Level;
  /** The index of the current level. */
  index: number;
  /** The number of steps. */
  count: number;
  options: StepOptions;
  /** For messages. */
  where: string;
}

/** The steps of a run of a DPM-Solver: the last predictions, and with them the order of the next step. */
export class DpmSolverRun {
  readonly #settings: DpmSolverSettings;
  readonly #predictions: History;
  #stepsTaken = 0;

  constructor(settings: DpmSolverSettings) {
    this.#settings = settings;
    this.#predictions = new History(settings.solver_order);
  }

  reset(): void {
    this.#predictions.clear();
    this.#stepsTaken = 0;
  }

  /** Short runs end with lower orders, and the step to σ = 0 is always of the first. */
  highestOrder(index: number, count: number): number {
    const { lower_order_final: lower, euler_at_final: euler, final_sigmas_type: final } = this.#settings;
    const left = count - index;
    const few = lower && count < FEW_STEPS;
    if (left === 1 && (euler || few || final === "zero")) return 1;
    return left === 2 && few ? 2 : 3;
  }

  /** Whether a run of this many steps takes one of the third order. */
  reachesThirdOrder(count: number): boolean {
    const highest = Math.max(...Array.from({ length: count }, (_, i) => Math.min(i + 1, this.highestOrder(i, count))));
    return Math.min(highest, this.#settings.solver_order) === 3;
  }

  /** x at the next level, in the sample's type. */
  async step({ prediction, sample, level, index, count, options, where }: DpmSolverStep): Promise<Tensor> {
    const { algorithm_type: algorithm, solver_order: order, solver_type: solver } = this.#settings;
    this.#predictions.push(prediction);
    const next = await withTemporaries(async (own) => {
      const stochastic = algorithm === "sde-dpmsolver" || algorithm === "sde-dpmsolver++";
      const noise = stochastic
        ? (options.varianceNoise ?? (await own(drawNoise(sample, options, "float32"))))
        : undefined;
      const wanted = Math.min(order, this.#stepsTaken + 1, this.highestOrder(index, count));
      const used = possibleOrder(level, index, wanted);
      const levels = Array.from({ length: used + 1 }, (_, i) => level(index + 1 - i));
      const predictions = this.#predictions.tensors.slice(0, used);
      const update = dpmSolverUpdate({ algorithm, solver, levels, sample, predictions, noise });
      return await evaluate(update, sample.dtype, where);
    });
    this.#stepsTaken += 1;
    return next;
  }
}
