import { type OptionNames, optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import type { Tensor } from "../../core/tensor.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import { checkSchedule, type ScheduleCall } from "../call.js";
import { checkUNetInput } from "../compatibility.js";
import { denoise } from "../denoise.js";
import type { FiniteChecks } from "../finite.js";
import type { PartialSize, PipelineImage } from "../image-input.js";
import { finish, unitNoise } from "../latents.js";
import { MAX_SIZE_OPTIONS, type MaxSizeOptions } from "../max-size.js";
import { checkFraction, requireGiven } from "../options.js";
import { pictureLatents } from "../picture-latents.js";
import {
  type ImagesResult,
  type OutputType,
  RUN_OPTIONS,
  type RunOptions,
  SAMPLING_OPTIONS,
  type SamplingOptions,
  SCHEDULE_OPTIONS,
  type ScheduleOptions,
} from "../run-options.js";
import {
  checkTextGuidance,
  TEXT_GUIDANCE_OPTIONS,
  type TextGuidanceOptions,
} from "../stable_diffusion/text-options.js";
import { StableDiffusionXLBase, type StableDiffusionXLCall } from "./base.js";
import { type StableDiffusionXLRefinerComponents, stableDiffusionXLRefiner } from "./components.js";
import { PROMPT_PAIR_OPTIONS, type PromptPairOptions } from "./options.js";
import {
  checkRefining,
  REFINING_OPTIONS,
  type RefiningCall,
  type RefiningOptions,
  refiningSchedule,
  refiningTimeIds,
} from "./refining.js";

/**
 * Options of `StableDiffusionXLImg2ImgPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface ImageToImageXLOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptPairOptions,
    SamplingOptions,
    ScheduleOptions,
    MaxSizeOptions,
    TextGuidanceOptions,
    RefiningOptions {
  /**
   * The image to start from, several, or a tensor: pixels [B,3,H,W] in 0..1, or latents [B,C,h,w] as pipelines return
   * them, used unchanged. Pixels are resized down to multiples of the autoencoder's factor, several to the first one's size.
   */
  image: PipelineImage;
  /** Noised latents [B·n,C,h,w] to start from, instead of those of the image with noise; they are not scaled. */
  latents?: Tensor | undefined;
  /** How far the result may be from the image, 0..1: the part of the steps that is taken. Default 0.3. */
  strength?: number | undefined;
  /** Denoising steps at strength 1, 1..num_train_timesteps. Default 50. */
  numInferenceSteps?: number | undefined;
}

const OPTIONS = optionNames<ImageToImageXLOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_PAIR_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...MAX_SIZE_OPTIONS,
  ...TEXT_GUIDANCE_OPTIONS,
  ...REFINING_OPTIONS,
  image: true,
  strength: true,
  numInferenceSteps: true,
});

/** A validated call. */
export type ImageToImageXLCall = StableDiffusionXLCall &
  ScheduleCall &
  RefiningCall & {
    image: PipelineImage;
    strength: number;
    /** The size of the result, where the image does not decide. */
    size?: PartialSize;
  };

/**
 * Makes images from images and text with Stable Diffusion XL, and refines what its base made (Podell et al. 2023,
 * https://arxiv.org/abs/2307.01952, section 2.5); numerically equal to diffusers' class of this name.
 *
 * @example
 * ```js
 * import { StableDiffusionXLImg2ImgPipeline } from "instruct-pix2pix";
 *
 * const pipe = await StableDiffusionXLImg2ImgPipeline.fromPretrained("./sdxl-refiner");
 * const { images } = await pipe.run({ prompt: "a lighthouse", image: "photo.jpg", strength: 0.3 });
 * await images[0].save("refined.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionXLImg2ImgPipeline extends StableDiffusionXLBase {
  /** @internal */
  static readonly description = stableDiffusionXLRefiner("StableDiffusionXLImg2ImgPipeline", checkUNetInput);
  protected readonly runOptions: OptionNames<object> = OPTIONS;

  /** Whether the UNet takes an aesthetic score instead of the target size, as refiners do. */
  readonly requiresAestheticsScore: boolean;

  constructor(components: StableDiffusionXLRefinerComponents) {
    super(components);
    this.requiresAestheticsScore = this.settingOf(components, "requiresAestheticsScore");
  }

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: ImageToImageXLOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: ImageToImageXLOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: ImageToImageXLOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.check(options, device),
      (call) => this.generate(call),
    );
  }

  /** Makes the images of a call. */
  protected async generate<T extends OutputType>(call: ImageToImageXLCall): Promise<ImagesResult<T>> {
    using scope = new Scope();
    const { scheduler, finite } = await this.begin(call, scope);
    const { timesteps, from } = refiningSchedule(scheduler, call);
    const conditions = await this.encodeText(call, finite, scope);
    const latents = scope.add(await this.#start(call, scheduler, from, finite));
    const [, , h, w] = latents.shape as [number, number, number, number];
    const factor = call.vae.scaleFactor;
    const ids = refiningTimeIds(call, [h * factor, w * factor]);
    const steps = await this.guideWith(call, conditions, ids, { timesteps }, scope);
    const start = await latents.clone();
    const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents: start, finite });
    return await finish(denoised, { ...call, finite });
  }

  /** Validates a call. */
  protected check(options: ImageToImageXLOptions<OutputType>, device: string): ImageToImageXLCall {
    const { unet, vae, requiresAestheticsScore } = this;
    requireGiven("image", options.image);
    const strength = checkFraction("strength", options.strength ?? 0.3);
    const guidance = checkTextGuidance(options, this.skippableLayers, 5);
    const call = this.checkCommon(options, device, guidance, requiresAestheticsScore);
    checkUNetInput(unet.config, vae.config);
    return {
      ...call,
      ...checkSchedule(options, options.numInferenceSteps ?? 50),
      ...checkRefining(options, requiresAestheticsScore),
      ...{ image: options.image, strength },
    };
  }

  /** [B·n,C,h,w]: the images' latents, with the noise of the first timestep unless another model left it in them. */
  async #start(
    call: ImageToImageXLCall,
    scheduler: Scheduler,
    timesteps: readonly number[],
    finite: FiniteChecks,
  ): Promise<Tensor> {
    const { device, dtype, latents: given } = call;
    using scope = new Scope();
    if (given) return await given.to({ device, dtype });
    const input = scope.add(await this.prepareImage(call.image, call, call.size));
    const clean = scope.add(await pictureLatents(call, input.image, { draws: true, scaled: true }, finite));
    if (call.denoisingStart !== undefined) return await clean.clone();
    const noise = scope.add(await unitNoise(clean.shape, { device, dtype, generator: call.generator }));
    return await scheduler.addNoise(clean, noise, timesteps.slice(0, 1));
  }
}
