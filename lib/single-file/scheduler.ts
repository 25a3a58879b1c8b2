import type { SchedulerConfig } from "../schedulers/config.js";
import type { SchedulerName } from "../schedulers/registry.js";
import type { SingleFile } from "./file.js";
import { isXLFamily } from "./layout.js";

/** The noise schedule that all these models were trained with. */
const TRAINED = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  num_train_timesteps: 1000,
  clip_sample: false,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
  trained_betas: null,
} as const;

/** The noise levels of CosXL. */
const COSXL = {
  sigma_min: 0.002,
  sigma_max: 120,
  sigma_data: 1,
  sigma_schedule: "exponential",
  prediction_type: "v_prediction",
  num_train_timesteps: 1000,
} as const;

export interface DefaultScheduler {
  className: SchedulerName;
  config: SchedulerConfig;
}

/**
 * The scheduler of the published repository of each kind of model, as diffusers chooses it. Files of Stable Diffusion 2
 * do not say whether they predict noise or velocity: like diffusers' default, Stable Diffusion 2.1's, it is the velocity.
 *
 * @param inChannels of the UNet: 4, 8 for InstructPix2Pix, 9 for inpainting
 */
export function defaultScheduler(
  { family, isEdm }: Pick<SingleFile, "family" | "isEdm">,
  inChannels: number,
): DefaultScheduler {
  if (isEdm) return { className: "EDMEulerScheduler", config: COSXL };
  if (isXLFamily(family))
    return {
      className: "EulerDiscreteScheduler",
      config: { ...TRAINED, interpolation_type: "linear", timestep_spacing: "leading", use_karras_sigmas: false },
    };
  if (inChannels === 9) return { className: "DDIMScheduler", config: { ...TRAINED, prediction_type: "epsilon" } };
  const prediction_type = family === "sd2" ? "v_prediction" : "epsilon";
  if (inChannels === 8)
    return { className: "EulerAncestralDiscreteScheduler", config: { ...TRAINED, prediction_type } };
  return { className: family === "sd2" ? "DDIMScheduler" : "PNDMScheduler", config: { ...TRAINED, prediction_type } };
}
