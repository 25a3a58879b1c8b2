import type { Progress } from "../routes/progress.js";
import type { TrainingEvent } from "./training.js";

/** A step of training. */
export interface TrainingStep {
  step: number;
  train_loss: number | null;
}

/** Images that were made after a step. */
export interface TrainingSamples {
  step: number;
  count: number;
}

/** How far a training job is, from what its processes printed. */
export class TrainingProgress {
  readonly steps: TrainingStep[] = [];
  readonly samples: TrainingSamples[] = [];
  /** Steps in all, once a process has told. */
  total: number | undefined;
  /** Undefined while no process runs. */
  progress: Progress | undefined;

  get loss(): number | null {
    return this.steps.at(-1)?.train_loss ?? null;
  }

  /** Takes what a process printed. @returns whether it says something new */
  take(event: TrainingEvent): boolean {
    const number = (name: string) => (typeof event[name] === "number" ? (event[name] as number) : null);
    const step = number("step") ?? 0;
    if (event.event === "started") {
      this.total = number("total_steps") ?? 0;
      // After a resumption, steps are made again that were made after the checkpoint.
      dropAfter(this.steps, step);
      dropAfter(this.samples, step);
      this.#at(step, 0);
    } else if (event.event === "step") {
      dropAfter(this.steps, step - 1);
      this.steps.push({ step, train_loss: number("train_loss") });
      this.#at(step, number("seconds") ?? 0);
    } else if (event.event === "validation") {
      dropAfter(this.samples, step - 1);
      this.samples.push({ step, count: (event.files as unknown[]).length });
    } else return false;
    return true;
  }

  #at(step: number, secondsPerStep: number): void {
    const total = this.total ?? 0;
    const left = Math.round(10 * secondsPerStep * Math.max(0, total - step)) / 10;
    this.progress = { state: "running", step, total_steps: total, seconds_left: left };
  }
}

function dropAfter(list: { step: number }[], step: number): void {
  while ((list.at(-1)?.step ?? 0) > step) list.pop();
}
