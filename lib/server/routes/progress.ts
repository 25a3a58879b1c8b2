import type { BoundedQueue } from "../queue.js";

/** How far a request is. */
export type Progress =
  | { state: "waiting"; position: number; seconds_left: number }
  | { state: "running"; step: number; total_steps: number; seconds_left: number };

/** @param position how many requests wait before it */
export function waitProgress(position: number, queue: Pick<BoundedQueue, "secondsUntil">): Progress {
  return { state: "waiting", position, seconds_left: rounded(queue.secondsUntil(position)) };
}

/**
 * Tells the steps of a run that begins now; the time left is measured on the steps that are done.
 *
 * @returns called after each step
 */
export function runProgress(tell: ((progress: Progress) => void) | undefined): (done: number, total: number) => void {
  const begun = performance.now();
  return (done, total) => {
    const perStep = (performance.now() - begun) / 1000 / done;
    tell?.({ state: "running", step: done, total_steps: total, seconds_left: rounded(perStep * (total - done)) });
  };
}

function rounded(seconds: number): number {
  return Math.round(10 * seconds) / 10;
}
