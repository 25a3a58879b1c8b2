import { throwIfAborted } from "../core/errors.js";
import type { Generator } from "../core/generator.js";
import type { Tensor } from "../core/tensor.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import type { StepOptions } from "../schedulers/options.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { batcherOf, type StepSeat } from "./batching/step-batcher.js";
import type { FiniteChecks } from "./finite.js";
import type { RunOptions } from "./run-options.js";
import { type CallbackTensors, callOnStep, type StepDone } from "./step-callback.js";

/** What the model is asked for in one step. */
export interface StepInput {
  /** [B·n,C,h,w] */
  latents: Tensor;
  /** The latents as the scheduler wants the model to see them. */
  scaled: Tensor;
  timestep: number;
  /** Counts from 0. */
  step: number;
  /** The run's place among those whose steps are computed together; undefined if it is by itself. */
  seat?: StepSeat | undefined;
}

export interface Denoising {
  scheduler: Scheduler;
  /** What predicts, where its steps may be computed together with those of other runs. */
  unet?: UNet2DConditionModel | undefined;
  /** Those of the scheduler's timesteps that are visited. */
  timesteps: readonly number[];
  /** The initial latents; freed by {@link denoise}. */
  latents: Tensor;
  /** The model's guided prediction, of the latents' shape. */
  predict(input: StepInput): Promise<Tensor>;
  /** What becomes of the latents after a step; the given ones stay the caller's. */
  afterStep?: ((latents: Tensor, step: number) => Promise<Tensor>) | undefined;
  /** What else the step callback sees and may replace. */
  callbackTensors: CallbackTensors;
  onStep?: RunOptions["onStep"] | undefined;
  onProgress?: RunOptions["onProgress"] | undefined;
  finite: FiniteChecks;
  generator: Generator | Generator[];
  eta: number;
  /** What else the scheduler is told of a step, which counts from 0. */
  stepOptions?: ((step: number) => Pick<StepOptions, "prevTimestep">) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * The denoising loop of all pipelines: for each timestep the model predicts, the scheduler steps, and the step callback
 * may replace the latents.
 *
 * @returns the denoised latents
 * @throws `ERR_ABORTED`, `ERR_NOT_FINITE` naming the step, `ERR_INVALID_ARGUMENT` for the step callback's tensors
 */
export async function denoise(run: Denoising): Promise<Tensor> {
  const { scheduler, timesteps, finite, generator, eta, signal } = run;
  const totalSteps = timesteps.length;
  let { latents } = run;
  const tell = (done: number) =>
    run.onProgress?.({ stage: "denoise", fraction: totalSteps === 0 ? 1 : done / totalSteps, step: done, totalSteps });
  const become = (next: Tensor) => {
    latents.dispose();
    latents = next;
  };
  using seat = batcherOf(run.unet)?.join();
  const callback = (done: StepDone) => callOnStep(run.onStep, done, run.callbackTensors);
  try {
    tell(0);
    for (const [step, timestep] of timesteps.entries()) {
      throwIfAborted(signal);
      using scaled = await scheduler.scaleModelInput(latents, timestep);
      using prediction = await run.predict({ latents, scaled, timestep, step, seat });
      const options = { generator, eta, ...run.stepOptions?.(step) };
      become((await scheduler.step(prediction, timestep, latents, options)).prevSample);
      if (run.afterStep) become(await run.afterStep(latents, step));
      const done = { step, totalSteps, timestep, latents };
      // Other runs do not wait for a callback.
      const replacement = await (seat && run.onStep ? seat.away(() => callback(done)) : callback(done));
      if (replacement) {
        become(replacement);
        await finite.replaced(latents, step, totalSteps);
      } else await finite.step(latents, step, totalSteps);
      tell(step + 1);
    }
    throwIfAborted(signal);
    return latents;
  } catch (error) {
    latents.dispose();
    throw error;
  }
}
