import type { PipelineConfigs } from "../../components/description.js";
import type { RgbImage } from "../../images/index.js";
import type { StableDiffusionComponents } from "../../pipelines/components.js";
import type { PipelineClass } from "../../pipelines/diffusion_pipeline.js";
import type { ImagesResult, PromptOptions, RunOptions, SamplingOptions } from "../../pipelines/run-options.js";
import type { StableDiffusionBase } from "../../pipelines/stable_diffusion/base.js";
import type { PictureValues } from "./options.js";

/** The options of a run that every pipeline has. */
export interface SharedRunOptions extends RunOptions, PromptOptions, SamplingOptions {
  numInferenceSteps: number;
  guidanceScale: number;
}

/** What a command computes: with which pipeline, from which pictures. */
export interface PictureJob<
  P extends StableDiffusionBase = StableDiffusionBase,
  C extends StableDiffusionComponents = StableDiffusionComponents,
> {
  readonly pipelineClass: PipelineClass<C, P>;
  /** The picture that a grid shows before the results. */
  readonly original: RgbImage | undefined;
  /**
   * What a model is for, in options of the command, by the class that its folder names; undefined for what it is not for. Without
   * it any model is tried.
   */
  use?(className: string): string | undefined;
  /**
   * Refuses options that do not fit the model, before weights are downloaded or read. The scheduler is the one that the run
   * takes steps with.
   */
  checkModel(configs: PipelineConfigs<C>): void;
  run(pipeline: P, options: SharedRunOptions): Promise<ImagesResult>;
}

/** The options of a command line that every pipeline has. */
export function sharedRunOptions(
  values: PictureValues,
): Omit<SharedRunOptions, "seed" | "signal" | "onStep" | "onProgress"> {
  return {
    prompt: values.prompt,
    negativePrompt: values.negativePrompt,
    promptWeighting: values.promptWeighting,
    numInferenceSteps: values.numInferenceSteps,
    guidanceScale: values.guidanceScale,
    guidanceInterval: [values.guidanceStart, values.guidanceEnd],
    deepCacheInterval: values.deepCacheInterval,
    numImagesPerPrompt: values.numImagesPerPrompt,
    eta: values.eta,
    allowNonFinite: values.allowNonFinite,
  };
}
