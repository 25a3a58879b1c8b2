import type { GuidanceRow } from "../conditioning/guidance.js";
import type { Controls } from "../conditioning/guided-control.js";
import type { Scope } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import type { AutoencoderKL } from "../models/autoencoder_kl.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { checkedScheduler } from "../schedulers/check.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { checkRun, checkSampling, type RunCall, type SamplingCall } from "./call.js";
import { checkPrediction } from "./compatibility.js";
import { DiffusionPipeline } from "./diffusion_pipeline.js";
import { checkGivenTensors, FiniteChecks } from "./finite.js";
import { GuidedSteps, type GuidedStepsOptions } from "./guided-steps.js";
import { type ImageInput, type PartialSize, type PipelineImage, prepareImage } from "./image-input.js";
import type { LatentScale } from "./latent-scale.js";
import type { Placement } from "./latents.js";
import type { OutputType, RunOptions, SamplingOptions } from "./run-options.js";

/** The guidance of a call. */
export interface GuidanceCall {
  /** The rows of guidance that are computed. */
  rows: readonly GuidanceRow[];
  /** All rows in diffusers' order. */
  layout: readonly Pick<GuidanceRow, "text" | "image">[];
  /** Milder guidance than the call's, in words; undefined without guidance. */
  milderGuidance: string | undefined;
  guidanceRescale?: number;
}

/** A validated call, as far as it concerns latents, and the pipeline's components at its start. */
export type LatentCall = Placement &
  SamplingCall &
  RunCall &
  GuidanceCall & {
    vae: AutoencoderKL;
    unet: UNet2DConditionModel;
    /** Between the autoencoder's latents and the UNet's. */
    scale: LatentScale;
    /** Number of prompts. */
    batch: number;
    /** The ControlNets of pipelines that have some. */
    controls?: Controls | undefined;
  };

/** What pipelines share whose UNet denoises an autoencoder's latents, whatever encodes their prompts. */
export abstract class LatentPipeline extends DiffusionPipeline {
  abstract vae: AutoencoderKL;
  abstract unet: UNet2DConditionModel;
  #scheduler!: Scheduler;

  /** Cloned for every run. */
  get scheduler(): Scheduler {
    return this.#scheduler;
  }

  /** @throws `ERR_INVALID_ARGUMENT` for what is no scheduler, such as the name of one */
  set scheduler(scheduler: Scheduler) {
    this.#scheduler = checkedScheduler(scheduler);
  }

  /** Between the autoencoder's latents and the UNet's. */
  protected abstract scaleOf(vae: AutoencoderKL): LatentScale;

  /** Validates the options that have to do with latents, and the components for them. */
  protected checkLatents(
    options: SamplingOptions & RunOptions<OutputType>,
    { device, batch, ...guidance }: GuidanceCall & { device: string; batch: number },
  ): LatentCall {
    const { vae, unet } = this;
    const sampling = checkSampling(options, batch);
    const run = checkRun(options);
    checkPrediction(unet.config, vae.config, this.scheduler);
    const scale = this.scaleOf(vae);
    return { vae, unet, scale, device, dtype: unet.dtype, batch, ...sampling, ...run, ...guidance };
  }

  /**
   * The run's own scheduler, and its checks.
   *
   * @param given tensors among the call's options, by their names
   */
  protected async beginWith(
    call: LatentCall,
    scope: Scope,
    { textEncoders, given }: { textEncoders: readonly { dtype: string }[]; given: Record<string, Tensor | undefined> },
  ) {
    const scheduler = scope.add(this.scheduler.clone());
    const finite = new FiniteChecks({ ...call, textEncoders });
    await checkGivenTensors({ latents: call.latents, ...given }, call.allowNonFinite);
    return { scheduler, finite };
  }

  /** A call's pictures for the autoencoder, or latents that need no encoding. */
  protected async prepareImage(
    image: PipelineImage,
    { vae, allowNonFinite, signal }: LatentCall,
    size?: PartialSize,
  ): Promise<{ image: ImageInput } & Disposable> {
    const { latent_channels: latentChannels } = vae.config;
    const options = { factor: vae.scaleFactor, latentChannels, allowNonFinite, size };
    const prepared = await prepareImage(image, { ...options, ...(signal && { signal }) });
    const tensor = "latents" in prepared ? prepared.latents : prepared.pixels;
    return { image: prepared, [Symbol.dispose]: () => tensor.dispose() };
  }

  /** The guided predictions of a run. */
  protected guide(
    call: LatentCall,
    conditions: Pick<
      GuidedStepsOptions,
      "text" | "added" | "timesteps" | "channels" | "showsChannels" | "controlledSteps"
    >,
  ): Promise<GuidedSteps> {
    return GuidedSteps.create({ ...call, rescale: call.guidanceRescale, ...conditions });
  }
}
