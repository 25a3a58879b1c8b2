import type { ConditionsAddon } from "./conditions.js";
import type { CudaAddon } from "./cuda.js";
import type { DistributedAddon } from "./distributed.js";
import type { FilesAddon } from "./files.js";
import type { ImagesAddon } from "./images.js";
import type { ModelsAddon } from "./models.js";
import type { OperatorsAddon } from "./operators.js";
import type { RandomAddon } from "./random.js";
import type { SystemAddon } from "./system.js";
import type { TensorAddon } from "./tensor.js";
import type { TrainingAddon } from "./training.js";

export type * from "./conditions.js";
export type * from "./cuda.js";
export type * from "./distributed.js";
export type * from "./files.js";
export type * from "./images.js";
export * from "./models.js";
export type * from "./operators.js";
export type * from "./random.js";
export type * from "./system.js";
export * from "./tensor.js";
export type * from "./training.js";

/**
 * The addon, as one typed interface: everything native/bindings exports, by topic. Functions that return a promise queue a job on
 * the worker thread of a device (first in, first out) and reject with an InstructPix2PixError; the others return at
 * once and access tensor data only to copy it in. Not public: lib/core/tensor.ts and lib/models/ wrap them.
 */
export interface NativeAddon
  extends SystemAddon,
    CudaAddon,
    TensorAddon,
    RandomAddon,
    FilesAddon,
    ConditionsAddon,
    ModelsAddon,
    OperatorsAddon,
    TrainingAddon,
    DistributedAddon,
    ImagesAddon {}
