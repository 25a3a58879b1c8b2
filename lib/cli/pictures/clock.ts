/** Measures how fast steps follow one another. The first one, which also warms everything up, only starts the clock. */
export class StepClock {
  #first = 0;
  #last = 0;
  #steps = 0;

  get steps(): number {
    return this.#steps;
  }

  /** Undefined before two steps are done. */
  get stepsPerSecond(): number | undefined {
    return this.#steps < 2 ? undefined : ((this.#steps - 1) * 1000) / Math.max(this.#last - this.#first, 1e-3);
  }

  /** Counts a step that has just ended, and returns the rate so far. */
  tick(now = performance.now()): number | undefined {
    if (this.#steps === 0) this.#first = now;
    this.#last = now;
    this.#steps++;
    return this.stepsPerSecond;
  }
}
