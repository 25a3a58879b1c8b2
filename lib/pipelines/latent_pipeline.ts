import { ALONE, type GuidanceRow } from "../conditioning/guidance.js";
import { embedGuidanceScale } from "../conditioning/guidance-embedding.js";
import type { Controls } from "../conditioning/guided-control.js";
import type { Scope } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import type { RgbImage } from "../images/index.js";
import type { RunLoras } from "../lora/run-loras.js";
import type { AutoencoderKL } from "../models/autoencoder_kl.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { checkedScheduler } from "../schedulers/check.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { AdaptedPipeline } from "./adapted_pipeline.js";
import { checkRun, checkSampling, type RunCall, type SamplingCall } from "./call.js";
import { checkMemory } from "./check-memory.js";
import { checkPrediction } from "./compatibility.js";
import { checkGivenTensors, FiniteChecks } from "./finite.js";
import { GuidedSteps, type GuidedStepsOptions } from "./guided-steps.js";
import {
  type ImageInput,
  type ImageInputOptions,
  type PartialSize,
  type PipelineImage,
  prepareImage,
} from "./image-input.js";
import type { LatentScale } from "./latent-scale.js";
import { type Placement, previewOf } from "./latents.js";
import { checkMaxSize, type MaxSizeOptions } from "./max-size.js";
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
  /** The scale of guidance by text alone, for UNets that take it as an input (`time_cond_proj_dim`). */
  guidanceScale?: number;
  /** What such a UNet takes instead of guidance by several rows: the scale. */
  guidanceEmbedding?: number;
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
    /** Pixels of the longer side of images at most. */
    maxSize: number | undefined;
    /** The adapters of this run. */
    loras: RunLoras;
    /** The ControlNets of pipelines that have some. */
    controls?: Controls | undefined;
  };

/** What pipelines share whose UNet denoises an autoencoder's latents, whatever encodes their prompts. */
export abstract class LatentPipeline extends AdaptedPipeline {
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

  /** @internal The first image of latents [B,C,h,w] that a step callback got. */
  async preview(latents: Tensor, signal?: AbortSignal): Promise<RgbImage> {
    return await previewOf(latents, { vae: this.vae, scale: this.scaleOf(this.vae), signal });
  }

  /** Refuses a scheduler that does not take what the UNet predicts. @throws `ERR_CONFIG` */
  protected checkPrediction(): void {
    checkPrediction(this.unet.config, this.vae.config, this.scheduler);
  }

  /** Whether the UNet takes the scale of guidance as an input, as distilled ones do. */
  protected get embedsGuidance(): boolean {
    return this.unet.config.time_cond_proj_dim !== null;
  }

  /** Validates the options that have to do with latents, and the components for them. */
  protected checkLatents(
    options: SamplingOptions & RunOptions<OutputType> & MaxSizeOptions,
    { device, batch, ...guidance }: GuidanceCall & { device: string; batch: number },
  ): LatentCall {
    const { vae, unet } = this;
    const sampling = checkSampling(options, batch);
    const run = checkRun(options);
    this.checkPrediction();
    const maxSize = checkMaxSize(options, vae.scaleFactor);
    const scale = this.scaleOf(vae);
    const guided = this.embedsGuidance ? embeddedGuidance(guidance) : guidance;
    const loras = this.checkLoras(options.loras);
    return { vae, unet, scale, device, dtype: unet.dtype, batch, maxSize, loras, ...sampling, ...run, ...guided };
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
    call.onProgress?.({ stage: "encode", fraction: undefined });
    return { scheduler, finite };
  }

  /**
   * A call's images for the autoencoder, or latents that need no encoding. Throws as `prepareImage`, and
   * `ERR_OUT_OF_MEMORY` for images that memory cannot hold, unless they are computed in tiles.
   */
  protected async prepareImage(
    image: PipelineImage,
    call: LatentCall,
    size?: PartialSize,
    { inTiles = false, ...how }: Pick<ImageInputOptions, "filter"> & { factor?: number; inTiles?: boolean } = {},
  ): Promise<{ image: ImageInput } & Disposable> {
    const { vae, maxSize, allowNonFinite, signal } = call;
    const { latent_channels: latentChannels } = vae.config;
    const options = { factor: vae.scaleFactor, latentChannels, allowNonFinite, size, maxSize, ...how };
    const prepared = await prepareImage(image, { ...options, ...(signal && { signal }) });
    const encoded = "pixels" in prepared;
    const tensor = encoded ? prepared.pixels : prepared.latents;
    const factor = encoded ? 1 : vae.scaleFactor;
    const [height, width] = tensor.shape.slice(-2) as [number, number];
    try {
      if (!inTiles) await checkMemory(call, { height: height * factor, width: width * factor, encoded });
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    return { image: prepared, [Symbol.dispose]: () => tensor.dispose() };
  }

  /** The guided predictions of a run. */
  protected async guide(
    call: LatentCall,
    conditions: Omit<GuidedStepsOptions, keyof LatentCall | "rescale">,
  ): Promise<GuidedSteps> {
    const { unet, count, device, dtype, guidanceEmbedding: scale, guidanceRescale: rescale } = call;
    const width = unet.config.time_cond_proj_dim;
    const shared = { ...call, rescale, adapters: call.loras.unet, ...conditions };
    if (scale === undefined || width === null) return await GuidedSteps.create(shared);
    using one = embedGuidanceScale(scale, width);
    using placed = await one.to({ device, dtype });
    using timestepCond = await placed.repeat([count, 1]);
    return await GuidedSteps.create({ ...shared, timestepCond });
  }
}

/** Guidance by text that the UNet itself takes the scale of, as distilled ones do: only the prompt's row is computed. */
function embeddedGuidance<T extends GuidanceCall>(guidance: T): T {
  const { guidanceScale, layout } = guidance;
  if (guidanceScale === undefined) return guidance;
  const row = layout.filter(({ text, image }) => text && image);
  return {
    ...{ ...guidance, rows: ALONE, layout: row, guidanceEmbedding: guidanceScale },
    ...{ milderGuidance: undefined, guidanceRescale: 0 },
  };
}
