import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { UNet2DConditionConfig } from "../../models/unet_2d_condition.js";
import { checkedScheduler } from "../../schedulers/check.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import { checkSchedule, type ScheduleCall } from "../call.js";
import { checkPictureChannels } from "../compatibility.js";
import { denoise } from "../denoise.js";
import type { FiniteChecks } from "../finite.js";
import { checkImages, type PipelineImage } from "../image-input.js";
import { asResult, checkPairing, expandRows, initialLatents, outputOf, unitNoise } from "../latents.js";
import { refuseArgument, requireGiven } from "../options.js";
import {
  type ImagesResult,
  type OutputType,
  PROMPT_OPTIONS,
  type PromptOptions,
  RUN_OPTIONS,
  type RunOptions,
  SAMPLING_OPTIONS,
  type SamplingOptions,
} from "../run-options.js";
import { setSchedule } from "../schedule.js";
import { StableDiffusionBase, type StableDiffusionCall } from "../stable_diffusion/base.js";
import {
  checkTextGuidance,
  TEXT_GUIDANCE_OPTIONS,
  type TextGuidanceOptions,
} from "../stable_diffusion/text-options.js";
import type { TextEmbeddings } from "../text.js";
import { MOST_NOISE, UPSCALE, type UpscaleComponents } from "./components.js";
import {
  checkTiles,
  inTiles,
  onTile,
  partOf,
  TILE_OPTIONS,
  type TileLimits,
  type TileOptions,
  type Tiling,
} from "./tiles.js";

const { guidanceRescale: _guidanceRescale, ...TEXT_GUIDANCE } = TEXT_GUIDANCE_OPTIONS;

/**
 * Options of `StableDiffusionUpscalePipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface UpscaleOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptOptions,
    SamplingOptions,
    Omit<TextGuidanceOptions, "guidanceScale" | "guidanceRescale">,
    TileOptions {
  /**
   * The image to upscale, several, or a tensor of pixels [B,3,H,W] in 0..1. They are resized down to multiples of the
   * autoencoder's factor, several to the first one's size. Latents are refused: they are decoded first.
   */
  image: PipelineImage;
  /** Denoising steps, 1..num_train_timesteps. Default 75. */
  numInferenceSteps?: number | undefined;
  /** How strongly the prompt is followed. Guidance is on above 1. Default 9. */
  guidanceScale?: number | undefined;
  /**
   * The noise that is added to the image, as a timestep of `lowResScheduler`: from 0 to `maxNoiseLevel`. More of it leaves
   * more to the model, for noisy or compressed images. Default 20.
   */
  noiseLevel?: number | undefined;
}

const OPTIONS = optionNames<UpscaleOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...TEXT_GUIDANCE,
  ...TILE_OPTIONS,
  image: true,
  numInferenceSteps: true,
  noiseLevel: true,
});

/** Of the latents that the published model was trained with, whatever its file says. */
const SCALING_FACTOR = 0.08333;

type Call = StableDiffusionCall &
  ScheduleCall & { image: PipelineImage; noiseLevel: number; lowResScheduler: Scheduler; tiling: Tiling | undefined };

/** What a tile is made of. */
interface Parts {
  /** Cloned. */
  scheduler: Scheduler;
  finite: FiniteChecks;
  text: TextEmbeddings;
  /** The noisy images, and noise of unit variance for the latents of their size. */
  pictures: Tensor;
  noise: Tensor;
}

/**
 * Upscales images by 4, led by a prompt: Stable Diffusion's upscaler (Rombach et al. 2022, https://arxiv.org/abs/2112.10752;
 * noise on the image as in Ho et al. 2022, https://arxiv.org/abs/2106.15282); numerically equal to diffusers' class of this
 * name. Tiles are what it does not have.
 *
 * As in diffusers the autoencoder's `scaling_factor` becomes 0.08333, whatever its file says.
 *
 * @example
 * ```js
 * import { StableDiffusionUpscalePipeline } from "instruct-pix2pix";
 *
 * const pipe = await StableDiffusionUpscalePipeline.fromPretrained("stabilityai/stable-diffusion-x4-upscaler");
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "a lake", numInferenceSteps: 20 });
 * await images[0].save("large.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionUpscalePipeline extends StableDiffusionBase implements UpscaleComponents {
  /** @internal */
  static readonly description = UPSCALE;
  protected readonly runOptions = OPTIONS;
  /** The largest `noiseLevel`. */
  readonly maxNoiseLevel: number;
  #lowResScheduler!: Scheduler;

  constructor(components: UpscaleComponents) {
    super(components);
    this.lowResScheduler = components.lowResScheduler;
    this.maxNoiseLevel = this.settingOf(components, "maxNoiseLevel");
    if (this.vae.config.scaling_factor !== SCALING_FACTOR) this.vae.reconfigure({ scaling_factor: SCALING_FACTOR });
  }

  /** Adds noise to the image that is upscaled. */
  get lowResScheduler(): Scheduler {
    return this.#lowResScheduler;
  }

  /** @throws `ERR_INVALID_ARGUMENT` for what is no scheduler */
  set lowResScheduler(scheduler: Scheduler) {
    this.#lowResScheduler = checkedScheduler(scheduler);
  }

  /**
   * Upscales.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: UpscaleOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: UpscaleOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: UpscaleOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async (call) => {
        using scope = new Scope();
        const { scheduler, finite } = await this.begin(call, scope);
        const text = scope.add(await this.encodeText(call, finite));
        const pictures = scope.add(await this.#noisyPictures(call));
        const [, , height, width] = pictures.shape as [number, number, number, number];
        const shape = [call.count, call.vae.config.latent_channels, height, width];
        const noise = scope.add(await unitNoise(shape, { ...call, given: call.latents }));
        const scale = call.outputType === "latent" ? 1 : call.vae.scaleFactor;
        using output = await inTiles({ height, width }, call.tiling, scale, async (area, ...tile) => {
          using own = new Scope();
          const parts = { scheduler, finite, text, pictures: own.add(await partOf(pictures, area)) };
          const ofTile = { ...call, onStep: onTile(call.onStep, ...tile) };
          const denoised = own.add(
            await this.#denoise(ofTile, { ...parts, noise: own.add(await partOf(noise, area)) }),
          );
          return await outputOf(denoised, { ...call, finite });
        });
        return await asResult<T>(output, call);
      },
    );
  }

  /** Validates the combination of inputs and components, before anything is computed. */
  #check(options: UpscaleOptions<OutputType>, device: string): Call {
    const { unet, vae, textEncoder, lowResScheduler } = this;
    requireGiven("image", options.image);
    const { guidanceScale, clipSkip } = options;
    const guidance = checkTextGuidance({ guidanceScale, clipSkip }, textEncoder.config.num_hidden_layers, 9);
    const call = this.checkCommon(options, device, guidance);
    checkPictureChannels(unet.config, vae.config);
    const { maxNoiseLevel } = this;
    const noiseLevel = options.noiseLevel ?? 20;
    checkNoiseLevel(noiseLevel, { unet: unet.config, lowResScheduler, maxNoiseLevel });
    const images = checkImages(options.image, { latentChannels: vae.config.latent_channels });
    if (images.latents)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        'image holds latents, but this upscaler starts from pixels: give the outputType "image" or "tensor" of what made them',
      );
    checkPairing("images", images.count, call);
    return {
      ...call,
      ...checkSchedule({}, options.numInferenceSteps ?? 75),
      ...{ image: options.image, noiseLevel, lowResScheduler },
      tiling: checkTiles(options, pictureTiles(unet.config)),
    };
  }

  /** [B·n,3,H,W] in -1..1: the images with noise. */
  async #noisyPictures(call: Call): Promise<Tensor> {
    using scope = new Scope();
    const { device, dtype, generator } = call;
    const how = { filter: "bicubic", inTiles: true } as const;
    const { image: input } = scope.add(await this.prepareImage(call.image, call, undefined, how));
    if (!("pixels" in input)) throw new TypeError("latents were refused");
    const placed = scope.add(await input.pixels.to({ device, dtype }));
    // Of several generators the first ones draw for one image each, and then all of them for one result each.
    const own = Array.isArray(generator) ? generator.slice(0, placed.shape[0]) : generator;
    const noise = scope.add(await unitNoise(placed.shape, { generator: own, device, dtype }));
    using lowRes = call.lowResScheduler.clone();
    const noisy = scope.add(await lowRes.addNoise(placed, noise, [call.noiseLevel]));
    return await expandRows(noisy, call);
  }

  /** The denoised latents of a tile. */
  async #denoise(call: Call, { text, pictures, noise, finite, scheduler: template }: Parts): Promise<Tensor> {
    using scope = new Scope();
    const scheduler = scope.add(template.clone());
    setSchedule(scheduler, call);
    const { timesteps } = scheduler;
    const { class_embed_type: type, num_class_embeds: classes } = call.unet.config;
    // A UNet without class embeddings is not told the noise level.
    const labelled = type !== null || classes !== null;
    const classLabels = labelled ? scope.add(Tensor.from(BigInt64Array.of(BigInt(call.noiseLevel)), [1])) : undefined;
    const steps = scope.add(await this.guide(call, { text, timesteps, channels: pictures, classLabels }));
    const latents = await initialLatents(noise.shape, scheduler, { ...call, given: noise });
    return await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite });
  }
}

/** Smaller tiles than this would be nothing but seams. */
const LEAST_TILE = 8;
/** Where a configuration does not say what size a model was trained for: that of the published upscaler. */
const USUAL_TILE = 128;

/** What tiles of images can be: the UNet takes any size. */
export function pictureTiles({ sample_size: sample }: Pick<UNet2DConditionConfig, "sample_size">): TileLimits {
  const own = typeof sample === "number" ? Math.max(LEAST_TILE, sample) : USUAL_TILE;
  return { cell: 1, multiple: 1, least: LEAST_TILE, own };
}

/** Refuses a noise level beyond what the model, its UNet or the scheduler knows. @throws `ERR_INVALID_ARGUMENT` */
export function checkNoiseLevel(
  level: number,
  parts: Pick<UpscaleComponents, "lowResScheduler" | "maxNoiseLevel"> & {
    unet: Pick<UNet2DConditionConfig, "num_class_embeds" | "class_embed_type">;
  },
): void {
  const { num_class_embeds: classes, class_embed_type: type } = parts.unet;
  const labels = type === null && classes !== null ? classes : Number.POSITIVE_INFINITY;
  const timesteps = Number(parts.lowResScheduler.setting("num_train_timesteps"));
  const most = Math.min(parts.maxNoiseLevel ?? MOST_NOISE, labels - 1, timesteps - 1);
  if (!Number.isInteger(level) || level < 0 || level > most)
    refuseArgument("noiseLevel", level, `a whole number in 0..${most}`);
}
