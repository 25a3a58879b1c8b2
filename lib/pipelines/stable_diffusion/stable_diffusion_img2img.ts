import { type OptionNames, optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import type { Tensor } from "../../core/tensor.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import { checkSchedule, type ScheduleCall } from "../call.js";
import { checkUNetInput } from "../compatibility.js";
import { stableDiffusion } from "../components.js";
import { denoise } from "../denoise.js";
import type { FiniteChecks } from "../finite.js";
import { checkImages, type PartialSize, type PipelineImage } from "../image-input.js";
import { checkPairing, finish, unitNoise } from "../latents.js";
import { MAX_SIZE_OPTIONS, type MaxSizeOptions } from "../max-size.js";
import { checkFraction, requireGiven } from "../options.js";
import { pictureLatents } from "../picture-latents.js";
import {
  type ImagesResult,
  type OutputType,
  PROMPT_OPTIONS,
  type PromptOptions,
  RUN_OPTIONS,
  type RunOptions,
  SAMPLING_OPTIONS,
  type SamplingOptions,
  SCHEDULE_OPTIONS,
  type ScheduleOptions,
} from "../run-options.js";
import { setPartialSchedule } from "../schedule.js";
import { StableDiffusionBase, type StableDiffusionCall } from "./base.js";
import { OUTDATED } from "./outdated.js";
import { checkTextGuidance, TEXT_GUIDANCE_OPTIONS, type TextGuidanceOptions } from "./text-options.js";

/**
 * Options of `StableDiffusionImg2ImgPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface ImageToImageOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptOptions,
    Omit<SamplingOptions, "latents">,
    ScheduleOptions,
    MaxSizeOptions,
    Omit<TextGuidanceOptions, "guidanceRescale"> {
  /**
   * The image to start from, several, or a tensor: pixels [B,3,H,W] in 0..1, or latents [B,C,h,w] as pipelines return
   * them, used unchanged. Pixels are resized down to multiples of the autoencoder's factor, several to the first one's size.
   */
  image: PipelineImage;
  /** How far the result may be from the image, 0..1: the part of the steps that is taken. Default 0.8. */
  strength?: number | undefined;
  /** Denoising steps at strength 1, 1..num_train_timesteps. Default 50. */
  numInferenceSteps?: number | undefined;
}

const { latents: _latents, ...SAMPLING } = SAMPLING_OPTIONS;
const { guidanceRescale: _guidanceRescale, ...TEXT_GUIDANCE } = TEXT_GUIDANCE_OPTIONS;

const OPTIONS = optionNames<ImageToImageOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_OPTIONS,
  ...SAMPLING,
  ...SCHEDULE_OPTIONS,
  ...MAX_SIZE_OPTIONS,
  ...TEXT_GUIDANCE,
  image: true,
  strength: true,
  numInferenceSteps: true,
});

/** A validated call. */
export type ImageToImageCall = StableDiffusionCall &
  ScheduleCall & {
    image: PipelineImage;
    strength: number;
    /** The size of the result, where the image does not decide. */
    size?: PartialSize;
  };

/**
 * Makes images from images and text, by noising and denoising them (Meng et al. 2022, "SDEdit",
 * https://arxiv.org/abs/2108.01073); numerically equal to diffusers' class of this name.
 *
 * @example
 * ```js
 * import { StableDiffusionImg2ImgPipeline } from "instruct-pix2pix";
 *
 * const pipe = await StableDiffusionImg2ImgPipeline.fromPretrained("./base");
 * const { images } = await pipe.run({ prompt: "in winter", image: "photo.jpg", strength: 0.6 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionImg2ImgPipeline extends StableDiffusionBase {
  /** @internal */
  static readonly description = stableDiffusion("StableDiffusionImg2ImgPipeline", checkUNetInput);
  protected readonly runOptions: OptionNames<object> = OPTIONS;
  /** @internal */
  static override readonly outdated = OUTDATED;

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: ImageToImageOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: ImageToImageOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: ImageToImageOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.check(options, device),
      (call) => this.generate(call),
    );
  }

  /** Makes the images of a call. */
  protected async generate<T extends OutputType>(call: ImageToImageCall): Promise<ImagesResult<T>> {
    using scope = new Scope();
    const { scheduler, finite } = await this.begin(call, scope);
    const timesteps = setPartialSchedule(scheduler, call, call.strength);
    const text = scope.add(await this.encodeText(call, finite));
    const steps = scope.add(await this.guide(call, { text, timesteps }));
    const { latents: given } = call;
    const latents = given ? await given.to(call) : await this.#noisedPicture(call, scheduler, timesteps, finite);
    const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite });
    return await finish(denoised, { ...call, finite });
  }

  /** Validates a call. */
  protected check(options: ImageToImageOptions<OutputType>, device: string): ImageToImageCall {
    const { unet, vae, textEncoder } = this;
    requireGiven("image", options.image);
    const strength = checkFraction("strength", options.strength ?? 0.8);
    const call = this.checkCommon(options, device, checkTextGuidance(options, textEncoder.config.num_hidden_layers));
    checkUNetInput(unet.config, vae.config);
    const schedule = checkSchedule(options, options.numInferenceSteps ?? 50);
    const images = checkImages(options.image, { latentChannels: vae.config.latent_channels });
    checkPairing("images", images.count, call);
    return { ...call, ...schedule, latents: undefined, guidanceRescale: 0, image: options.image, strength };
  }

  /** [B·n,C,h,w]: the images' latents with the noise of the first timestep that is visited. */
  async #noisedPicture(
    call: ImageToImageCall,
    scheduler: Scheduler,
    timesteps: readonly number[],
    finite: FiniteChecks,
  ): Promise<Tensor> {
    using scope = new Scope();
    const input = scope.add(await this.prepareImage(call.image, call, call.size));
    const clean = scope.add(await pictureLatents(call, input.image, { draws: true, scaled: true }, finite));
    const noise = scope.add(await unitNoise(clean.shape, call));
    return await scheduler.addNoise(clean, noise, timesteps.slice(0, 1));
  }
}
