import type { PipelineConfigs } from "../../components/description.js";
import type { Generator } from "../../core/generator.js";
import type { Tensor } from "../../core/tensor.js";
import type { RgbImage } from "../../images/index.js";
import type { AutoencoderKL } from "../../models/autoencoder_kl.js";
import type { UNet2DConditionModel } from "../../models/unet_2d_condition.js";
import type { StableDiffusionComponents } from "../../pipelines/components.js";
import type { DiffusionPipeline, PipelineClass } from "../../pipelines/diffusion_pipeline.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import type { ImagesResult, PromptOptions, RunOptions, SamplingOptions } from "../../pipelines/run-options.js";
import type { StableDiffusionXLComponents } from "../../pipelines/stable_diffusion_xl/components.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import type { PictureValues } from "./options.js";

/** Images, or latents for a refiner. */
type Result = "image" | "latent";

/** The options of a run that every pipeline has. */
export interface SharedRunOptions extends RunOptions<Result>, PromptOptions, SamplingOptions {
  numInferenceSteps: number;
  guidanceScale: number | undefined;
  /** Where the steps end that a refiner goes on from; undefined without one. */
  denoisingEnd?: number | undefined;
}

/** What is known of a model's components before weights are downloaded or read. */
export type ModelConfigs = Pick<PipelineConfigs<StableDiffusionComponents>, "unet" | "vae" | "scheduler"> &
  Pick<PipelineConfigs<StableDiffusionXLComponents>, "textEncoder"> &
  Partial<Pick<PipelineConfigs<StableDiffusionXLComponents>, "textEncoder2">>;

/** What commands need of a pipeline. */
export type ImagePipeline = DiffusionPipeline & {
  readonly scheduler: Scheduler;
  readonly unet: Pick<UNet2DConditionModel, "dtype">;
  /** Of pipelines whose autoencoder works in slices and tiles. */
  readonly vae?: Pick<AutoencoderKL, "enableSlicing" | "enableTiling">;
};

/** A model and the pipeline that runs it. */
export interface PictureModel<P extends DiffusionPipeline = LatentPipeline, Configs = ModelConfigs> {
  /** The folder of the model that is taken without `--model`, of commands that do not need one. */
  readonly builtIn?: string;
  // biome-ignore lint/suspicious/noExplicitAny: each class has components of its own
  readonly pipelineClass: PipelineClass<any, P>;
  /** Components beside the model's, by their folders or repositories. */
  readonly given?: Readonly<Record<string, string | readonly string[]>>;
  /**
   * What a model is for, in options of the command, by the class that its folder names; undefined for what it is not for. Without
   * it any model is tried.
   */
  use?(className: string): string | undefined;
  /**
   * Refuses options that do not fit the model, before weights are downloaded or read. The scheduler is the one that the run
   * takes steps with.
   */
  checkModel(configs: Configs): void;
}

/** What a command computes: with which pipeline, from which images. */
export interface PictureJob<P extends ImagePipeline = LatentPipeline, Configs = ModelConfigs>
  extends PictureModel<P, Configs> {
  /** The image that a grid shows before the results. */
  readonly original: RgbImage | undefined;
  /** What goes on with the latents of `run`, and makes images of them. */
  readonly refiner?: RefinerJob | undefined;
  /** What is loaded beside the model to make its pipeline. */
  readonly prior?: PriorJob | undefined;
  run(pipeline: P, options: SharedRunOptions): Promise<ImagesResult<Result>>;
  /** What becomes of the images before they are saved. */
  finish?(images: readonly RgbImage[]): Promise<readonly RgbImage[]>;
}

/** A prior beside its decoder. */
// biome-ignore lint/suspicious/noExplicitAny: each prior has configurations of its own
export interface PriorJob extends PictureModel<any, any> {
  /** A folder or a repository. */
  readonly model: string;
  /** The pipeline of both, which shares their components. */
  // biome-ignore lint/suspicious/noExplicitAny: of the class above
  join(decoder: ImagePipeline, prior: any): ImagePipeline;
}

/** What a refiner does. */
export interface RefinerJob extends PictureModel {
  refine(
    pipeline: LatentPipeline,
    latents: Tensor,
    options: SharedRunOptions & { generator: Generator },
  ): Promise<ImagesResult<Result>>;
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
