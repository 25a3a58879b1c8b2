import { type OptionNames, optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { checkSchedule, type ScheduleCall } from "../call.js";
import { checkMemory } from "../check-memory.js";
import { checkUNetInput } from "../compatibility.js";
import { denoise } from "../denoise.js";
import { finish, initialLatents } from "../latents.js";
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
import { setSchedule, stepsUntil } from "../schedule.js";
import { checkSize } from "../size.js";
import {
  checkTextGuidance,
  TEXT_GUIDANCE_OPTIONS,
  type TextGuidanceOptions,
} from "../stable_diffusion/text-options.js";
import { StableDiffusionXLBase, type StableDiffusionXLCall, type TimeIds } from "./base.js";
import { stableDiffusionXL } from "./components.js";
import {
  checkDenoisingEnd,
  checkSizes,
  DENOISING_END_OPTIONS,
  type DenoisingEndOptions,
  NEGATIVE_SIZE_OPTIONS,
  type NegativeSizeOptions,
  PROMPT_PAIR_OPTIONS,
  type PromptPairOptions,
  SIZE_OPTIONS,
  type SizeCall,
  type SizeOptions,
} from "./options.js";

/**
 * Options of `StableDiffusionXLPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface TextToImageXLOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptPairOptions,
    SamplingOptions,
    ScheduleOptions,
    TextGuidanceOptions,
    SizeOptions,
    NegativeSizeOptions,
    DenoisingEndOptions {
  /** Pixels, a multiple of 8. Default the UNet's `sample_size` times the autoencoder's factor. */
  height?: number | undefined;
  /** Likewise. */
  width?: number | undefined;
  /** Denoising steps, 1..num_train_timesteps. Default 50. */
  numInferenceSteps?: number | undefined;
}

const OPTIONS = optionNames<TextToImageXLOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_PAIR_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...TEXT_GUIDANCE_OPTIONS,
  ...SIZE_OPTIONS,
  ...NEGATIVE_SIZE_OPTIONS,
  ...DENOISING_END_OPTIONS,
  height: true,
  width: true,
  numInferenceSteps: true,
});

/** A validated call. */
export type TextToImageXLCall = StableDiffusionXLCall &
  ScheduleCall & { height: number; width: number; sizes: SizeCall; denoisingEnd: number | undefined };

/**
 * Makes images from text: Stable Diffusion XL (Podell et al. 2023, https://arxiv.org/abs/2307.01952), numerically equal to
 * diffusers' class of this name. With negative sizes and several images each row gets its own sizes, which diffusers
 * mixes up.
 *
 * @example
 * ```js
 * import { StableDiffusionXLPipeline } from "instruct-pix2pix";
 *
 * const pipe = await StableDiffusionXLPipeline.fromPretrained("./sdxl-base");
 * const { images } = await pipe.run({ prompt: "a lighthouse", numInferenceSteps: 20, seed: 42 });
 * await images[0].save("lighthouse.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionXLPipeline extends StableDiffusionXLBase {
  /** @internal */
  static readonly description = stableDiffusionXL("StableDiffusionXLPipeline", checkUNetInput);
  protected readonly runOptions: OptionNames<object> = OPTIONS;

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: TextToImageXLOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: TextToImageXLOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: TextToImageXLOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      (call) => this.generate(call),
    );
  }

  /** Makes the images of a call. */
  protected async generate<T extends OutputType>(call: TextToImageXLCall): Promise<ImagesResult<T>> {
    using scope = new Scope();
    const { scheduler, finite } = await this.begin(call, scope);
    await checkMemory(call, call);
    setSchedule(scheduler, call);
    // Steps may repeat a timestep: the first one is meant.
    scheduler.setBeginIndex(0);
    const { timesteps: all } = scheduler;
    const timesteps = stepsUntil(scheduler, all, call.denoisingEnd);
    const conditions = await this.encodeText(call, finite, scope);
    const factor = call.vae.scaleFactor;
    const [h, w] = [Math.floor(call.height / factor), Math.floor(call.width / factor)];
    const shape = [call.count, call.vae.config.latent_channels, h, w];
    const parts = { timesteps, controlledSteps: all.length };
    const steps = await this.guideWith(call, conditions, timeIds(call), parts, scope);
    const latents = await initialLatents(shape, scheduler, { ...call, given: call.latents });
    const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite });
    return await finish(denoised, { ...call, finite });
  }

  #check(options: TextToImageXLOptions<OutputType>, device: string): TextToImageXLCall {
    const { unet, vae } = this;
    return { ...this.checkCall(options, device), ...checkSize(options, { unet, vae, multiple: 8 }) };
  }

  /** Validates all but the size. */
  protected checkCall(
    options: TextToImageXLOptions<OutputType>,
    device: string,
  ): Omit<TextToImageXLCall, "height" | "width"> {
    const { unet, vae } = this;
    const call = this.checkCommon(options, device, checkTextGuidance(options, this.skippableLayers, 5));
    checkUNetInput(unet.config, vae.config);
    return {
      ...call,
      ...checkSchedule(options, options.numInferenceSteps ?? 50),
      sizes: checkSizes(options),
      denoisingEnd: checkDenoisingEnd(options.denoisingEnd),
    };
  }
}

function timeIds({ sizes, height, width }: TextToImageXLCall): TimeIds {
  const own = [height, width] as const;
  const positive = [...(sizes.originalSize ?? own), ...sizes.cropsCoordsTopLeft, ...(sizes.targetSize ?? own)];
  const { negativeOriginalSize: original, negativeTargetSize: target } = sizes;
  const negative = original && target ? [...original, ...sizes.negativeCropsCoordsTopLeft, ...target] : positive;
  return { positive, negative };
}
