import { combineRows, type GuidanceRow, textGuidanceRows } from "../../conditioning/guidance.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { UNet2DConditionModel } from "../../models/unet_2d_condition.js";
import { UNetCache } from "../../models/unet-cache.js";
import type { VQModel } from "../../models/vq_model.js";
import { checkedScheduler } from "../../schedulers/check.js";
import type { SchedulerName } from "../../schedulers/registry.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import { checkRun, checkSampling, type RunCall, type SamplingCall } from "../call.js";
import { type Denoising, denoise, type StepInput } from "../denoise.js";
import { DiffusionPipeline } from "../diffusion_pipeline.js";
import { checkGivenTensors, FiniteChecks } from "../finite.js";
import { toPictures } from "../latents.js";
import { checkCount, checkFinite } from "../options.js";
import type { ImagesResult, OutputType, RunOptions } from "../run-options.js";
import type { KandinskyV22Components } from "./components.js";
import { checkDecoderSize, checkEmbeds, type KandinskyV22DecoderOptions, rowsOf } from "./options.js";

export type DecoderCall = RunCall &
  SamplingCall & {
    unet: UNet2DConditionModel;
    movq: VQModel;
    device: string;
    dtype: UNet2DConditionModel["dtype"];
    embeds: readonly Tensor[];
    /** Undefined without guidance. */
    negativeEmbeds: readonly Tensor[] | undefined;
    rows: readonly GuidanceRow[];
    /** Number of embeddings. */
    batch: number;
    size: { height: number; width: number };
    numInferenceSteps: number;
    milderGuidance: string | undefined;
  };

/** What the predictions of a run need beside the embeddings. */
export interface DecoderSteps extends Pick<Denoising, "afterStep"> {
  timesteps: readonly number[];
  /** The first latents; they are freed. */
  latents: Tensor;
  /** Channels behind those of the latents, [B·n,C,h,w]. */
  channels?: Tensor;
}

/**
 * The schedulers that mean to scale what the model sees and that diffusers' decoders run without asking them to. Of the others
 * that scale, which those decoders cannot run, the input is scaled.
 */
const UNSCALED: ReadonlySet<string> = new Set<SchedulerName>([
  "EulerDiscreteScheduler",
  "EulerAncestralDiscreteScheduler",
  "EDMEulerScheduler",
  "EDMDPMSolverMultistepScheduler",
]);

/** What Kandinsky 2.2's decoders share: components, embeddings, guided steps, and the image from its latents. */
export abstract class KandinskyV22DecoderBase extends DiffusionPipeline implements KandinskyV22Components {
  unet: UNet2DConditionModel;
  movq: VQModel;
  #scheduler!: Scheduler;

  constructor(components: KandinskyV22Components) {
    super();
    this.unet = components.unet;
    this.movq = components.movq;
    this.scheduler = components.scheduler;
    this.hold();
  }

  /** Cloned for every run. */
  get scheduler(): Scheduler {
    return this.#scheduler;
  }

  /** @throws `ERR_INVALID_ARGUMENT` for what is no scheduler, such as the name of one */
  set scheduler(scheduler: Scheduler) {
    this.#scheduler = checkedScheduler(scheduler);
  }

  protected get models() {
    return [this.movq, this.unet];
  }

  /** Validates what all decoders' options have in common. */
  protected checkDecoder(
    options: KandinskyV22DecoderOptions<OutputType> & { latents?: Tensor | undefined },
    device: string,
  ): DecoderCall {
    const { unet, movq } = this;
    const width = unet.config.encoder_hid_dim!;
    const rows = textGuidanceRows(checkFinite("guidanceScale", options.guidanceScale ?? 4));
    const embeds = checkEmbeds("imageEmbeds", options.imageEmbeds, width);
    const batch = rowsOf(embeds);
    let negativeEmbeds: readonly Tensor[] | undefined;
    if (rows.length > 1) {
      negativeEmbeds = checkEmbeds("negativeImageEmbeds", options.negativeImageEmbeds, width);
      if (rowsOf(negativeEmbeds) !== batch)
        throw new InstructPix2PixError(
          "ERR_INVALID_ARGUMENT",
          `negativeImageEmbeds must have ${batch} rows, as imageEmbeds, not ${rowsOf(negativeEmbeds)}`,
        );
    }
    return {
      ...{ unet, movq, device, dtype: unet.dtype, embeds, negativeEmbeds, rows, batch },
      // The callback's tensors are other ones than those of the pipelines that are guided by text.
      ...checkRun(options as RunOptions<OutputType>),
      ...checkSampling(options, batch),
      size: checkDecoderSize({ height: options.height ?? 512, width: options.width ?? 512 }),
      numInferenceSteps: checkCount("numInferenceSteps", options.numInferenceSteps ?? 100),
      milderGuidance: rows.length > 1 ? "a guidanceScale nearer to 1" : undefined,
    };
  }

  /**
   * A run.
   *
   * @param start sets the scheduler's steps
   * @throws `ERR_NOT_FINITE`, `ERR_ABORTED`, `ERR_INVALID_ARGUMENT`
   */
  protected async decodeEmbeddings<T extends OutputType>(
    call: DecoderCall,
    given: Record<string, Tensor | undefined>,
    start: (scheduler: Scheduler, scope: Scope, finite: FiniteChecks) => Promise<DecoderSteps>,
    finishLatents: (latents: Tensor) => Promise<Tensor> = (latents) => latents.clone(),
  ): Promise<ImagesResult<T>> {
    const { unet, movq, rows, device, dtype, seed, onProgress } = call;
    using scope = new Scope();
    onProgress?.({ stage: "encode", fraction: undefined });
    const scheduler = scope.add(this.scheduler.clone());
    const finite = new FiniteChecks({ ...call, textEncoders: [], vae: movq, unet });
    await checkGivenTensors({ ...given, ...named("imageEmbeds", call.embeds) }, call.allowNonFinite);
    await checkGivenTensors(named("negativeImageEmbeds", call.negativeEmbeds ?? []), call.allowNonFinite);
    const parts: Tensor[] = [];
    for (const part of rows.length > 1 ? [call.negativeEmbeds!, call.embeds] : [call.embeds]) {
      const all = scope.add(await Tensor.cat([...part], 0));
      const placed = scope.add(await all.to({ device, dtype }));
      parts.push(scope.add(await placed.repeatInterleave(call.numImagesPerPrompt, 0)));
    }
    const embeds = { all: scope.add(await Tensor.cat(parts, 0)) };
    const { channels, ...steps } = await start(scheduler, scope, finite);
    const cache = scope.add(new UNetCache(steps.timesteps));
    const denoised = await denoise({
      ...call,
      ...steps,
      ...{ scheduler, finite },
      predict: (input) => predict({ ...call, cache, scheduler, channels, conditions: embeds.all }, input),
      callbackTensors: {
        read: async () =>
          ({ imageEmbeds: embeds.all }) as unknown as Awaited<ReturnType<Denoising["callbackTensors"]["read"]>>,
        replace: async (tensors) => {
          const { imageEmbeds } = tensors as { imageEmbeds?: Tensor };
          if (imageEmbeds) embeds.all = scope.add(await imageEmbeds.clone());
        },
      },
    });
    using first = denoised;
    using latents = await finishLatents(first);
    const result = (images: ImagesResult<OutputType>["images"]) => ({ images, seed }) as ImagesResult<T>;
    if (call.outputType === "latent") return result(await latents.clone());
    onProgress?.({ stage: "decode", fraction: undefined });
    using unit = await this.#decode(latents, call, finite);
    onProgress?.({ stage: "decode", fraction: 1 });
    return result(call.outputType === "tensor" ? await unit.clone() : await toPictures(unit));
  }

  /** Latents to images [B,3,H,W] in 0..1, float32. */
  async #decode(latents: Tensor, { movq, signal }: DecoderCall, finite: FiniteChecks): Promise<Tensor> {
    using scope = new Scope();
    const placed = scope.add(await latents.to({ dtype: movq.dtype, device: movq.device }));
    const decoded = scope.add(await movq.decode(placed, { forceNotQuantize: true, ...(signal && { signal }) }));
    await finite.decoded(decoded);
    const float = scope.add(await decoded.to({ dtype: "float32" }));
    const half = scope.add(await float.mul(0.5));
    const shifted = scope.add(await half.add(0.5));
    return await shifted.clamp(0, 1);
  }
}

function named(name: string, tensors: readonly Tensor[]): Record<string, Tensor> {
  return Object.fromEntries(tensors.map((tensor, i) => [tensors.length === 1 ? name : `${name}[${i}]`, tensor]));
}

/**
 * The guided prediction: of the noise and, for schedulers that take it, of the variance, which is that of the row without
 * guidance.
 */
async function predict(
  call: DecoderCall & { cache: UNetCache; scheduler: Scheduler; channels: Tensor | undefined; conditions: Tensor },
  { latents, scaled, timestep, seat }: StepInput,
): Promise<Tensor> {
  const { unet, rows, count, cache, channels, signal } = call;
  using scope = new Scope();
  const noisy = UNSCALED.has(call.scheduler.className) ? latents : scaled;
  const input = channels ? scope.add(await Tensor.cat([noisy, channels], 1)) : noisy;
  const prediction = scope.add(
    await (seat ?? unet).forward(input, timestep, null, {
      cache,
      addedConditions: { imageEmbeds: call.conditions },
      sampleRows: rows.flatMap(() => Array.from({ length: count }, (_, i) => i)),
      ...(signal && { signal }),
    }),
  );
  const half = prediction.shape[1]! / 2;
  const noise = scope.add(await prediction.slice(1, 0, half));
  const guided = scope.add(await combineRows(noise, rows));
  if (!String(call.scheduler.setting("variance_type")).startsWith("learned")) return await guided.clone();
  const of = (rows.length - 1) * count;
  const row = scope.add(await prediction.slice(0, of, of + count));
  return await Tensor.cat([guided, scope.add(await row.slice(1, half, 2 * half))], 1);
}
