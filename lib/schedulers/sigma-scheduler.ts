import type { Tensor } from "../core/tensor.js";
import { combineRows, timestepsPerRow } from "./rows.js";
import { Scheduler } from "./scheduler.js";
import { indexOfTimestep, StepCursor } from "./step-cursor.js";

/** The schedulers that step in the noise level σ, relative to the signal, along a list of levels. */
export abstract class SigmaScheduler extends Scheduler {
  /** Noise levels of the run, descending: one per step, and the final level. */
  sigmas: number[] = [];
  protected readonly cursor = new StepCursor();

  /** Index of the next step in the schedule, or null before the first. */
  get stepIndex(): number | null {
    return this.cursor.index;
  }

  override setBeginIndex(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.timesteps.length)
      this.invalid(`begin index ${index} is not a whole number in 0..${this.timesteps.length - 1}`);
    this.cursor.begin = index;
  }

  override reset(): void {
    this.cursor.reset();
  }

  /** α and σ of x = α·x_0 + σ·ε at a noise level, rounded as in a tensor of `dtype`. */
  protected abstract marginal(sigma: number, dtype: Tensor["dtype"]): { alpha: number; sigma: number };

  /** The start index for a timestep that is not in the schedule. */
  protected abstract unknownTimestep(timestep: number): number;

  /** The index of the step to take now. */
  protected currentStep(timestep: number): number {
    const index = this.cursor.at(timestep, this.timesteps, () => this.unknownTimestep(timestep));
    if (index >= this.timesteps.length) this.invalid(`all ${this.timesteps.length} steps are taken; call setTimesteps`);
    return index;
  }

  /** As in every scheduler, but within a run adds the current step's noise level, regardless of `timesteps`. */
  async addNoise(original: Tensor, noise: Tensor, timesteps: readonly number[]): Promise<Tensor> {
    const rows = timestepsPerRow(this.className, timesteps, original);
    const { begin, index } = this.cursor;
    const indices =
      begin === null
        ? rows.map((t) => indexOfTimestep(t, this.timesteps) ?? this.unknownTimestep(t))
        : rows.map(() => index ?? begin);
    const marginals = indices.map((i) => this.marginal(this.sigmas[i]!, original.dtype));
    return combineRows([marginals.map(({ alpha }) => alpha), original], [marginals.map(({ sigma }) => sigma), noise]);
  }
}
