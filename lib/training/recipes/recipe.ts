import type { ModelDType } from "../../core/tensor.js";
import type { TrainOptions } from "../options.js";
import type { BaseLocation } from "./base-source.js";
import type { EditModels } from "./edit/models.js";

/** What is trained, of which base models, and how: the counterpart of a training script of diffusers. */
export interface Recipe {
  /** The base models that it is for, in messages: "Stable Diffusion". */
  readonly base: string;
  /** The class of the saved pipeline. */
  readonly pipeline: string;
  /** Of its page on the hub. */
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
  /** The option that names the validation picture. */
  readonly validationImage: "valImageUrl";
  /** When pictures are made for validation, besides the end: every so many epochs or steps. */
  validationInterval(options: TrainOptions): { readonly epochs: number } | { readonly steps: number };
  /**
   * Loads the models.
   *
   * @throws as loading a pipeline; `ERR_CONFIG` for a base model that cannot be trained
   */
  load(options: LoadOptions): Promise<EditModels>;
}

/** Where the base model is, and how it is loaded. */
export interface LoadOptions extends BaseLocation, Partial<Pick<TrainOptions, "trainTextEncoder">> {
  device: string;
  /** Type of the frozen models. */
  frozenDType: ModelDType;
  /** Folders of a checkpoint to load trained models from, instead of the base model. */
  trained?: { unet: string; textEncoder?: string } | undefined;
}
