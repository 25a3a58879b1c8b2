/**
 * The position of a run in its schedule. Schedulers that step in σ count steps instead of looking up each timestep,
 * because a timestep may occur twice.
 */
export class StepCursor {
  /** Index of the next step, or null before the first. */
  index: number | null = null;
  /** The start index, if set; otherwise the index of the first timestep passed. */
  begin: number | null = null;

  reset(): void {
    this.index = null;
    this.begin = null;
  }

  /** The index of the next step; the first one is looked up by its timestep. */
  at(timestep: number, timesteps: readonly number[], fallback: () => number): number {
    this.index ??= this.begin ?? indexOfTimestep(timestep, timesteps) ?? fallback();
    return this.index;
  }

  advance(): void {
    if (this.index !== null) this.index += 1;
  }
}

/**
 * Index of a timestep: of its second occurrence where it occurs twice (a run that starts halfway starts a fresh step),
 * except at the very start of the schedule, where that would skip a step. `undefined` if it does not occur.
 */
export function indexOfTimestep(timestep: number, timesteps: readonly number[]): number | undefined {
  const first = timesteps.indexOf(timestep);
  if (first <= 0) return first === 0 ? 0 : undefined;
  const second = timesteps.indexOf(timestep, first + 1);
  return second < 0 ? first : second;
}

/** As {@link indexOfTimestep}, of the nearest timestep; `undefined` if it is not within a tolerance. */
export function indexOfNearest(timestep: number, timesteps: readonly number[], tolerance: number): number | undefined {
  const nearest = timesteps.reduce((best, t) => (Math.abs(t - timestep) < Math.abs(best - timestep) ? t : best));
  return Math.abs(nearest - timestep) <= tolerance ? indexOfTimestep(nearest, timesteps) : undefined;
}
