import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { readConfig } from "../files/config.js";
import { type SchedulerConfig, show } from "./config.js";
import { DDIMScheduler } from "./ddim.js";
import { DDPMScheduler } from "./ddpm.js";
import { DPMSolverMultistepScheduler } from "./dpm-solver-multistep.js";
import { EDMDPMSolverMultistepScheduler } from "./edm-dpm-solver-multistep.js";
import { EDMEulerScheduler } from "./edm-euler.js";
import { EulerAncestralDiscreteScheduler } from "./euler-ancestral-discrete.js";
import { EulerDiscreteScheduler } from "./euler-discrete.js";
import { HeunDiscreteScheduler } from "./heun-discrete.js";
import { LCMScheduler } from "./lcm.js";
import { LMSDiscreteScheduler } from "./lms-discrete.js";
import { PNDMScheduler } from "./pndm.js";
import type { Scheduler } from "./scheduler.js";
import { UnCLIPScheduler } from "./unclip.js";
import { UniPCMultistepScheduler } from "./unipc-multistep.js";

/** A scheduler class in the registry. */
export interface SchedulerFactory {
  fromConfig(config?: SchedulerConfig, overrides?: SchedulerConfig): Scheduler;
}

/** Every scheduler, by its class name in diffusers' files. */
const SCHEDULERS = {
  DDIMScheduler,
  DDPMScheduler,
  DPMSolverMultistepScheduler,
  EDMDPMSolverMultistepScheduler,
  EDMEulerScheduler,
  EulerAncestralDiscreteScheduler,
  EulerDiscreteScheduler,
  HeunDiscreteScheduler,
  LCMScheduler,
  LMSDiscreteScheduler,
  PNDMScheduler,
  UnCLIPScheduler,
  UniPCMultistepScheduler,
} as const;

/** The name of a scheduler class. */
export type SchedulerName = keyof typeof SCHEDULERS;

/**
 * The class names that {@link schedulerFromClassName} knows.
 *
 * @example
 * ```js
 * import { SCHEDULER_NAMES } from "instruct-pix2pix";
 *
 * console.log(SCHEDULER_NAMES.join(", "));
 * ```
 */
export const SCHEDULER_NAMES = Object.keys(SCHEDULERS) as readonly SchedulerName[];

/**
 * The scheduler class of a name such as "EulerDiscreteScheduler". Names as Flax pipelines write them
 * ("FlaxPNDMScheduler") mean the same classes.
 *
 * @throws `ERR_CONFIG` listing the known names
 *
 * @example
 * ```js
 * import { schedulerFromClassName } from "instruct-pix2pix";
 *
 * const scheduler = schedulerFromClassName("EulerDiscreteScheduler").fromConfig({ num_train_timesteps: 1000 });
 * scheduler.setTimesteps(20);
 * console.log(scheduler.initNoiseSigma);
 * ```
 */
export function schedulerFromClassName(name: string): SchedulerFactory {
  const plain = typeof name === "string" ? name.replace(/^Flax/, "") : "";
  if (Object.hasOwn(SCHEDULERS, plain)) return SCHEDULERS[plain as SchedulerName];
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `unknown scheduler class ${show(name)}; known: ${SCHEDULER_NAMES.join(", ")}`,
  );
}

/** The file with a scheduler's configuration. */
export const SCHEDULER_CONFIG = "scheduler_config.json";

/**
 * Loads the scheduler that a folder's `scheduler_config.json` describes.
 *
 * @param className its class; default the one that the file names
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_IO`, `ERR_CONFIG`
 *
 * @example
 * ```js
 * import { loadScheduler } from "instruct-pix2pix";
 *
 * const scheduler = await loadScheduler("./model/scheduler", "EulerDiscreteScheduler");
 * scheduler.setTimesteps(20);
 * console.log(scheduler.timesteps);
 * ```
 */
export async function loadScheduler(folder: string, className?: SchedulerName): Promise<Scheduler> {
  const path = join(folder, SCHEDULER_CONFIG);
  const config = await readConfig(path);
  try {
    return schedulerFromClassName(className ?? (config._class_name as string)).fromConfig(config);
  } catch (error) {
    if (!(error instanceof InstructPix2PixError)) throw error;
    throw new InstructPix2PixError(error.code, `${path}: ${error.message}`, { cause: error.cause });
  }
}
