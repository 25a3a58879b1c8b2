import type { UNet2DConditionModel } from "../../models/unet_2d_condition.js";
import type { Scheduler } from "../../schedulers/scheduler.js";

// Early files of Stable Diffusion hold values that its pipelines have never worked with; like the constructors of diffusers,
// ours use others instead. Which ones differs from class to class.

/** What a pipeline does not take from its components' configurations. */
export interface Outdated {
  /** Settings of the scheduler by their keys: what is used instead, of any other value or of `from` alone. */
  scheduler?: Readonly<Record<string, { from?: unknown; to: unknown }>>;
  /** Whether a UNet written by diffusers before 0.9 has a `sample_size` of 64 where it says less. */
  sampleSize?: boolean;
}

/** Of text to image, and of image to image. */
export const OUTDATED: Outdated = {
  scheduler: { steps_offset: { to: 1 }, clip_sample: { from: true, to: false } },
  sampleSize: true,
};

/** Of inpainting. */
export const OUTDATED_INPAINTING: Outdated = {
  scheduler: { steps_offset: { to: 1 }, skip_prk_steps: { from: false, to: true } },
  sampleSize: true,
};

/** The scheduler itself, or one of its class with other settings. */
export function updatedScheduler(scheduler: Scheduler, { scheduler: rules = {} }: Outdated): Scheduler {
  const changes: Record<string, unknown> = {};
  for (const [key, { from, to }] of Object.entries(rules)) {
    const value = scheduler.setting(key);
    if (value !== undefined && value !== to && (from === undefined || value === from)) changes[key] = to;
  }
  return Object.keys(changes).length > 0 ? scheduler.with(changes) : scheduler;
}

/** Versions before 0.9. */
const EARLY = /^0\.[0-8](\D|$)/;

/** Corrects the UNet's configuration, so that it is saved as it is used. */
export function updateSampleSize(unet: UNet2DConditionModel, { sampleSize }: Outdated): void {
  const { _diffusers_version: version, sample_size: size } = unet.config;
  if (sampleSize && typeof version === "string" && EARLY.test(version) && typeof size === "number" && size < 64)
    unet.reconfigure({ sample_size: 64 });
}
