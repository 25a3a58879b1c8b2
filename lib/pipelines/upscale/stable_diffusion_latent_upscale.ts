import { PromptCache } from "../../conditioning/prompt-cache.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import { native } from "../../runtime/native.js";
import { f32, log32 } from "../../schedulers/float32.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import type { SigmaScheduler } from "../../schedulers/sigma-scheduler.js";
import { checkPooled, checkSchedule, type PooledCall, type ScheduleCall } from "../call.js";
import { checkLatentUpscaler } from "../compatibility.js";
import { denoise, type StepInput } from "../denoise.js";
import type { FiniteChecks } from "../finite.js";
import { checkImages, type PipelineImage } from "../image-input.js";
import { asResult, checkLatents, checkPairing, initialLatents, outputOf, unitNoise } from "../latents.js";
import { requireGiven } from "../options.js";
import {
  type ImagesResult,
  type OutputType,
  POOLED_PROMPT_OPTIONS,
  type PooledPromptOptions,
  PROMPT_OPTIONS,
  type PromptOptions,
  RUN_OPTIONS,
  type RunOptions,
  SAMPLING_OPTIONS,
  type SamplingOptions,
} from "../run-options.js";
import { setSchedule } from "../schedule.js";
import { StableDiffusionBase, type StableDiffusionCall } from "../stable_diffusion/base.js";
import { checkTextGuidance } from "../stable_diffusion/text-options.js";
import { checkPooledWidth, LATENT_UPSCALE, withSigmas } from "./components.js";
import { checkLatentEdges, checkPictureEdges, edgesOf } from "./edges.js";
import { latentSource } from "./latent-source.js";
import { encodePooledText, type PooledText } from "./pooled-text.js";
import { checkTiles, inTiles, onTile, partOf, TILE_OPTIONS, type TileOptions, type Tiling } from "./tiles.js";

const { promptWeighting: _promptWeighting, ...PROMPT } = PROMPT_OPTIONS;
const { numImagesPerPrompt: _numImagesPerPrompt, eta: _eta, ...SAMPLING } = SAMPLING_OPTIONS;

/**
 * Options of `StableDiffusionLatentUpscalePipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface LatentUpscaleOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    Omit<PromptOptions, "promptWeighting">,
    PooledPromptOptions,
    Omit<SamplingOptions, "numImagesPerPrompt" | "eta">,
    TileOptions {
  /**
   * The image to upscale, several, or a tensor: pixels [B,3,H,W] in 0..1, or latents [B,C,h,w] as pipelines of Stable
   * Diffusion return them, used unchanged. Pixels are resized down to multiples of what autoencoder and UNet take together, of
   * 32 in the published model; latents must fit.
   */
  image: PipelineImage;
  /** Denoising steps, 1..num_train_timesteps. Default 75. */
  numInferenceSteps?: number | undefined;
  /** How strongly the prompt is followed. Guidance is on above 1; at 0 the prompt is not used. Default 9. */
  guidanceScale?: number | undefined;
}

const OPTIONS = optionNames<LatentUpscaleOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT,
  ...POOLED_PROMPT_OPTIONS,
  ...SAMPLING,
  ...TILE_OPTIONS,
  image: true,
  numInferenceSteps: true,
  guidanceScale: true,
});

type Call = StableDiffusionCall & PooledCall & ScheduleCall & { image: PipelineImage; tiling: Tiling | undefined };

/** What a tile is made of. */
interface Parts {
  /** Cloned. */
  scheduler: Scheduler;
  finite: FiniteChecks;
  text: PooledText;
  condition: Tensor;
  noise: Tensor;
}

/**
 * Upscales images, or latents of Stable Diffusion, by 2, led by a prompt: the latent upscaler of Katherine Crowson and
 * Stability AI; numerically equal to diffusers' class of this name. Tiles are what it does not have.
 *
 * @example
 * ```js
 * import { StableDiffusionLatentUpscalePipeline } from "instruct-pix2pix";
 *
 * const pipe = await StableDiffusionLatentUpscalePipeline.fromPretrained("stabilityai/sd-x2-latent-upscaler");
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "a lake", guidanceScale: 0, numInferenceSteps: 20 });
 * await images[0].save("twice.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionLatentUpscalePipeline extends StableDiffusionBase {
  /** @internal */
  static readonly description = LATENT_UPSCALE;
  protected readonly runOptions = OPTIONS;

  /** What this UNet takes beside the timestep are the noise level and the pooled text. */
  protected override get embedsGuidance(): boolean {
    return false;
  }
  readonly #texts = new PromptCache();

  /**
   * Upscales.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: LatentUpscaleOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: LatentUpscaleOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: LatentUpscaleOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async (call) => {
        using scope = new Scope();
        const { scheduler, finite } = await this.begin(call, scope);
        const guided = call.rows.length > 1;
        const text = await encodePooledText(call, { ...call, cache: this.#texts, finite, guided }, scope);
        const input = scope.add(await this.#input(call));
        const source = scope.add(await latentSource(call, input.image, finite));
        const shape = latentShape(call, [source.height, source.width]);
        const noise = scope.add(await unitNoise(shape, { ...call, given: call.latents }));
        const scale = call.outputType === "latent" ? 2 : 2 * call.vae.scaleFactor;
        using output = await inTiles(source, call.tiling, scale, async (area, ...tile) => {
          using own = new Scope();
          const condition = own.add(await twice(own.add(await source.latentsOf(area))));
          const given = own.add(await partOf(noise, area, 2));
          const ofTile = { ...call, onStep: onTile(call.onStep, ...tile) };
          const denoised = own.add(await this.#denoise(ofTile, { scheduler, finite, text, condition, noise: given }));
          return await outputOf(denoised, { ...call, finite });
        });
        return await asResult<T>(output, call);
      },
    );
  }

  protected override free(): void {
    super.free();
    this.#texts.clear();
  }

  protected override checkPrediction(): void {
    withSigmas(this.scheduler);
  }

  /** Validates the combination of inputs and components, before anything is computed. */
  #check(options: LatentUpscaleOptions<OutputType>, device: string): Call {
    const { unet, vae, textEncoder } = this;
    requireGiven("image", options.image);
    const guidanceScale = options.guidanceScale ?? 9;
    const call = this.checkCommon(options, device, checkTextGuidance({ guidanceScale }, 0));
    checkLatentUpscaler(unet.config, vae.config);
    checkPooledWidth(unet.config, textEncoder.config);
    const pooled = checkPooled(options, call.batch, textEncoder.config.hidden_size);
    const images = checkImages(options.image, { latentChannels: vae.config.latent_channels });
    checkPairing("images", images.count, call);
    const edges = edgesOf(unet, vae);
    if (images.latents) checkLatentEdges(images.latents, edges);
    if (images.latents) checkLatents(call.latents, latentShape(call, images.latents));
    return {
      ...{ ...call, ...pooled },
      ...checkSchedule({}, options.numInferenceSteps ?? 75),
      prompts: guidanceScale === 0 ? call.prompts?.map(() => "") : call.prompts,
      image: options.image,
      tiling: checkTiles(options, edges),
    };
  }

  /** The images, resized to what autoencoder and UNet take, or latents. */
  async #input(call: Call) {
    const edges = edgesOf(call.unet, call.vae);
    const how = { filter: "bicubic", factor: edges.multiple, inTiles: true } as const;
    const input = await this.prepareImage(call.image, call, undefined, how);
    if ("pixels" in input.image) checkPictureEdges(input.image.pixels.shape, edges);
    return input;
  }

  /**
   * The denoised latents of a tile.
   *
   * @param parts.condition the image's latents, at the size of the result
   * @param parts.noise of unit variance, of the same shape
   */
  async #denoise(call: Call, parts: Parts): Promise<Tensor> {
    using scope = new Scope();
    const { text, condition, noise, finite } = parts;
    const scheduler = withSigmas(scope.add(parts.scheduler.clone()));
    setSchedule(scheduler, call);
    const { timesteps } = scheduler;
    const steps = scope.add(await this.guide(call, { ...text, timesteps, channels: condition }));
    const latents = await initialLatents(noise.shape, scheduler, { ...call, given: noise });
    const predict = (input: StepInput) => precondition(input, scheduler, steps.hooks.predict);
    return await denoise({ ...call, ...steps.hooks, predict, scheduler, timesteps, latents, finite });
  }
}

/** [B,C,2h,2w] for latents of a height and width. */
function latentShape({ count, vae }: Call | StableDiffusionCall, [height, width]: readonly [number, number]): number[] {
  return [count, vae.config.latent_channels, 2 * height, 2 * width];
}

/**
 * The prediction of the clean latents at a noise level (Karras et al. 2022, https://arxiv.org/abs/2206.00364, table 1):
 *
 *   D = x / (σ² + 1) + σ / √(σ² + 1) · F(x / √(σ² + 1), ¼·ln σ)
 *
 * The last of F's channels, a variance, is not used. Guidance weighs predictions of one x, so it may be applied to F.
 */
async function precondition(
  input: StepInput,
  scheduler: SigmaScheduler,
  predict: (input: StepInput) => Promise<Tensor>,
): Promise<Tensor> {
  using scope = new Scope();
  const { latents, timestep, step } = input;
  const sigma = f32(scheduler.sigmas[step]!);
  const all = scope.add(await predict({ ...input, timestep: f32(0.25 * log32(sigma)) }));
  const output = scope.add(await all.slice(1, 0, latents.shape[1]!));
  // Scaled by the scheduler as its inputs are.
  const level = scope.add(await scheduler.scaleModelInput(scope.add(await Tensor.full([1], sigma)), timestep));
  const share = f32(1 / f32(f32(sigma * sigma) + 1));
  return await Tensor.linearCombination([
    [share, latents],
    [await level.item(), output],
  ]);
}

/** Latents at twice the size, by nearest neighbour. */
async function twice(latents: Tensor): Promise<Tensor> {
  const [, , height, width] = latents.shape as [number, number, number, number];
  return new Tensor(await native().resizeNearest(latents.handle, 2 * height, 2 * width));
}
