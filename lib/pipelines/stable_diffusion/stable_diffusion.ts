import { type OptionNames, optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { checkSchedule, type ScheduleCall } from "../call.js";
import { checkMemory } from "../check-memory.js";
import { checkUNetInput } from "../compatibility.js";
import { stableDiffusion } from "../components.js";
import { denoise } from "../denoise.js";
import { checkLatents, finish, initialLatents } from "../latents.js";
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
import { setSchedule } from "../schedule.js";
import { checkSize } from "../size.js";
import { StableDiffusionBase, type StableDiffusionCall } from "./base.js";
import { OUTDATED } from "./outdated.js";
import { checkTextGuidance, TEXT_GUIDANCE_OPTIONS, type TextGuidanceOptions } from "./text-options.js";

/**
 * Options of `StableDiffusionPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface TextToImageOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptOptions,
    SamplingOptions,
    ScheduleOptions,
    TextGuidanceOptions {
  /**
   * Pixels, a multiple of 8; given together with `width`, or not at all, as in diffusers. Default the UNet's `sample_size` times
   * the autoencoder's factor.
   */
  height?: number | undefined;
  /** Likewise. */
  width?: number | undefined;
  /** Denoising steps, 1..num_train_timesteps. Default 50. */
  numInferenceSteps?: number | undefined;
}

const OPTIONS = optionNames<TextToImageOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...TEXT_GUIDANCE_OPTIONS,
  height: true,
  width: true,
  numInferenceSteps: true,
});

/** A validated call. */
export type TextToImageCall = StableDiffusionCall & ScheduleCall & { height: number; width: number };

/**
 * Makes images from text: Stable Diffusion (Rombach et al. 2022, https://arxiv.org/abs/2112.10752), numerically equal to
 * diffusers' class of this name.
 *
 * @example
 * ```js
 * import { StableDiffusionPipeline } from "instruct-pix2pix";
 *
 * const pipe = await StableDiffusionPipeline.fromPretrained("./base");
 * const { images } = await pipe.run({ prompt: "a lighthouse", numInferenceSteps: 20, seed: 42 });
 * await images[0].save("lighthouse.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionPipeline extends StableDiffusionBase {
  /** @internal */
  static readonly description = stableDiffusion("StableDiffusionPipeline", checkUNetInput);
  protected readonly runOptions: OptionNames<object> = OPTIONS;
  /** @internal */
  static override readonly outdated = OUTDATED;

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: TextToImageOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: TextToImageOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: TextToImageOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      (call) => this.generate(call),
    );
  }

  /** Makes the images of a call. */
  protected async generate<T extends OutputType>(call: TextToImageCall): Promise<ImagesResult<T>> {
    using scope = new Scope();
    const { scheduler, finite } = await this.begin(call, scope);
    await checkMemory(call, call);
    setSchedule(scheduler, call);
    const { timesteps } = scheduler;
    const text = scope.add(await this.encodeText(call, finite));
    const latents = await initialLatents(latentShape(call), scheduler, { ...call, given: call.latents });
    const steps = scope.add(await this.guide(call, { text, timesteps }));
    const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite });
    return await finish(denoised, { ...call, finite });
  }

  #check(options: TextToImageOptions<OutputType>, device: string): TextToImageCall {
    const { unet, vae } = this;
    const call = this.checkCall(options, device);
    // As in diffusers: one edge alone does not count.
    const { height, width } = options;
    const given = height == null || width == null ? {} : { height, width };
    const checked = { ...call, ...checkSize(given, { unet, vae, multiple: 8 }) };
    checkLatents(call.latents, latentShape(checked));
    return checked;
  }

  /** Validates all but the size. */
  protected checkCall(
    options: TextToImageOptions<OutputType>,
    device: string,
  ): Omit<TextToImageCall, "height" | "width"> {
    const { unet, vae, textEncoder } = this;
    const call = this.checkCommon(options, device, checkTextGuidance(options, textEncoder.config.num_hidden_layers));
    checkUNetInput(unet.config, vae.config);
    return { ...call, ...checkSchedule(options, options.numInferenceSteps ?? 50) };
  }
}

/** [B·n,C,h,w] */
function latentShape({ count, vae, height, width }: TextToImageCall): number[] {
  const edge = (pixels: number) => Math.floor(pixels / vae.scaleFactor);
  return [count, vae.config.latent_channels, edge(height), edge(width)];
}
