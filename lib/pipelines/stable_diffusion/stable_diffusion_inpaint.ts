import { type OptionNames, optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { checkSchedule, type ScheduleCall } from "../call.js";
import { stableDiffusion } from "../components.js";
import { denoise } from "../denoise.js";
import { checkGivenTensors } from "../finite.js";
import {
  checkInpaintPictures,
  checkInpaintSize,
  checkInpaintUNet,
  type InpaintCall,
  inpaintPictures,
  sized,
  type Unsized,
} from "../inpainting/call.js";
import { INPAINT_PICTURE_OPTIONS, type InpaintImageOptions } from "../inpainting/options.js";
import { type InpaintPictures, readPictures, withOverlay } from "../inpainting/pictures.js";
import { puttingBack, startInpainting } from "../inpainting/start.js";
import { finish } from "../latents.js";
import { checkFraction } from "../options.js";
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
import { OUTDATED_INPAINTING } from "./outdated.js";
import { checkTextGuidance, TEXT_GUIDANCE_OPTIONS, type TextGuidanceOptions } from "./text-options.js";

/**
 * Options of `StableDiffusionInpaintPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface InpaintOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptOptions,
    SamplingOptions,
    ScheduleOptions,
    InpaintImageOptions,
    Omit<TextGuidanceOptions, "guidanceRescale"> {
  /** How far the painted part may be from what was there, 0..1: the part of the steps that is taken. Default 1. */
  strength?: number | undefined;
  /** Denoising steps at strength 1, 1..num_train_timesteps. Default 50. */
  numInferenceSteps?: number | undefined;
}

const { guidanceRescale: _guidanceRescale, ...TEXT_GUIDANCE } = TEXT_GUIDANCE_OPTIONS;

const OPTIONS = optionNames<InpaintOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...INPAINT_PICTURE_OPTIONS,
  ...TEXT_GUIDANCE,
  strength: true,
  numInferenceSteps: true,
});

/** A validated call. */
export type InpaintingCall = StableDiffusionCall & ScheduleCall & InpaintCall;

/**
 * Paints the masked part of images anew, numerically equal to diffusers' class of this name: with inpainting models, whose
 * UNet takes the mask and the masked image (Rombach et al. 2022, section 4.5), and with text-to-image models, where the
 * part that stays is put back after each step (Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865, without resampling).
 *
 * @example
 * ```js
 * import { StableDiffusionInpaintPipeline } from "instruct-pix2pix";
 *
 * const pipe = await StableDiffusionInpaintPipeline.fromPretrained("./base");
 * const { images } = await pipe.run({
 *   prompt: "a red door",
 *   image: "photo.jpg",
 *   maskImage: "mask.png",
 *   numInferenceSteps: 20,
 * });
 * await images[0].save("door.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionInpaintPipeline extends StableDiffusionBase {
  /** @internal */
  static readonly description = stableDiffusion("StableDiffusionInpaintPipeline", checkInpaintUNet);
  protected readonly runOptions: OptionNames<object> = OPTIONS;
  /** @internal */
  static override readonly outdated = OUTDATED_INPAINTING;

  /**
   * Paints.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: InpaintOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: InpaintOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: InpaintOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async (checked) => {
        const call = await sized<InpaintingCall>(checked);
        return await this.paint<T>(call, await readPictures(call));
      },
    );
  }

  /** Paints the images of a call, which are read. */
  protected async paint<T extends OutputType>(
    call: InpaintingCall,
    pictures: InpaintPictures,
  ): Promise<ImagesResult<T>> {
    using scope = new Scope();
    const { scheduler, finite } = await this.begin(call, scope);
    await checkGivenTensors({ maskedImageLatents: call.maskedImageLatents }, call.allowNonFinite);
    const timesteps = setPartialSchedule(scheduler, call, call.strength, { whole: true });
    const text = scope.add(await this.encodeText(call, finite));
    const { image } = scope.add(await this.prepareImage(pictures.image, call, call.size));
    const from = { image, masks: pictures.masks, scheduler, timesteps, finite };
    const { latents, channels, ...kept } = await startInpainting(call, from, scope);
    const steps = scope.add(await this.guide(call, { text, timesteps, channels }));
    const afterStep = puttingBack(call, kept, from);
    const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite, afterStep });
    return await withOverlay(await finish<T>(denoised, { ...call, finite }), pictures);
  }

  #check(options: InpaintOptions<OutputType>, device: string): Unsized<InpaintingCall> {
    const call = this.checkPainting(options, device);
    return { ...call, size: checkInpaintSize(options, call, this.vae.scaleFactor) };
  }

  /** Validates a call but for the size of its images. */
  protected checkPainting(options: InpaintOptions<OutputType>, device: string): Omit<InpaintingCall, "size"> {
    const { textEncoder } = this;
    checkInpaintPictures(options);
    const strength = checkFraction("strength", options.strength ?? 1);
    const call = this.checkCommon(options, device, checkTextGuidance(options, textEncoder.config.num_hidden_layers));
    const pictures = inpaintPictures(options, call);
    const schedule = checkSchedule(options, options.numInferenceSteps ?? 50);
    return { ...call, ...schedule, guidanceRescale: 0, ...pictures, strength };
  }
}
