import type { ModelDType } from "../../core/tensor.js";
import type { RunModels } from "../memory.js";
import type { TrainOptions } from "../options.js";
import type { EditModels } from "./edit/models.js";

/** What is trained, of which base models, and how: the counterpart of a training script of diffusers. */
export interface Recipe {
  /** The base models that it is for, in messages: "Stable Diffusion". */
  readonly base: string;
  /** The class of the saved pipeline. */
  readonly pipeline: string;
  /** The tags of its page on the hub. */
  readonly tags: readonly string[];
  /** The folders of that pipeline. */
  readonly folders: readonly string[];
  /** The options, of those that not every recipe has, that this one takes. */
  readonly ownOptions: readonly (keyof TrainOptions)[];
  /**
   * Checks options before anything is loaded.
   *
   * @throws `ERR_INVALID_ARGUMENT` for combinations that are contradictory or not supported
   */
  check(options: TrainOptions): Promise<void>;
  /** The option that names the validation image. */
  readonly validationImage: "valImageUrl" | "valImageUrlOrPath";
  /** When images are made for validation, besides the end: every so many epochs or steps. */
  validationInterval(options: TrainOptions): { readonly epochs: number } | { readonly steps: number };
  /** What differs from other recipes in the loop. */
  rules(options: TrainOptions): LoopRules;
  /**
   * Loads the models.
   *
   * @throws as loading a pipeline; `ERR_CONFIG` for a base model that cannot be trained
   */
  load(options: TrainOptions, place: LoadPlace): Promise<EditModels>;
}

/** What a script does in its own way, of what all have in common. */
export interface LoopRules {
  /** Whether the latents of original images are samples of their posterior, and not its mean. */
  readonly samplesOriginals: boolean;
  /** The warm-up and the total of the learning-rate schedule are longer by this factor. */
  readonly lrHorizon: number;
  /** With `compat`: whether a resumed run passes over the finished batches of its epoch, and does not begin it anew. */
  readonly skipsFinishedBatches: boolean;
  /** Whether the loss of a window that the epoch's end cut short is the mean of its own micro-steps. */
  readonly meanOfShortWindows: boolean;
  /** Whether a validation that is due after a number of steps is repeated for every micro-step until the next step. */
  readonly validatesPerMicroStep: boolean;
}

/** Where and how models are loaded. */
export interface LoadPlace {
  device: string;
  /** Type of the frozen models. */
  frozenDType: ModelDType;
  /** Folders of a checkpoint to load trained models from, instead of the base model. */
  trained?: { unet: string; textEncoder?: string; textEncoder2?: string } | undefined;
  /** Called before anything is loaded, to refuse what memory cannot hold. */
  checkMemory?: ((models: RunModels) => Promise<void>) | undefined;
  signal?: AbortSignal | undefined;
}
