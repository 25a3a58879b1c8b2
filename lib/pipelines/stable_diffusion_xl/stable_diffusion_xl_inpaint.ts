import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import type { AutoencoderKL } from "../../models/autoencoder_kl.js";
import { checkSchedule, type ScheduleCall } from "../call.js";
import { denoise } from "../denoise.js";
import { checkGivenTensors } from "../finite.js";
import {
  checkInpaintPictures,
  checkInpaintSize,
  checkInpaintUNet,
  type InpaintCall,
  inpaintPictures,
  latentShape,
  sized,
  type Unsized,
} from "../inpainting/call.js";
import { INPAINT_PICTURE_OPTIONS, type InpaintImageOptions } from "../inpainting/options.js";
import { readPictures, withOverlay } from "../inpainting/pictures.js";
import { puttingBack, startInpainting } from "../inpainting/start.js";
import { type LatentScale, scaleByFactor, scaleByStatistics } from "../latent-scale.js";
import { finish } from "../latents.js";
import { checkFraction } from "../options.js";
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
 * Options of `StableDiffusionXLInpaintPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface InpaintXLOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptPairOptions,
    SamplingOptions,
    ScheduleOptions,
    TextGuidanceOptions,
    RefiningOptions,
    InpaintImageOptions {
  /**
   * How far the painted part may be from what was there, 0..1: the part of the steps that is taken. Below 1 the image with
   * noise is what denoising starts from, at 1 noise alone. Default 0.9999.
   */
  strength?: number | undefined;
  /** Denoising steps at strength 1, 1..num_train_timesteps. Default 50. */
  numInferenceSteps?: number | undefined;
}

const OPTIONS = optionNames<InpaintXLOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_PAIR_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...TEXT_GUIDANCE_OPTIONS,
  ...REFINING_OPTIONS,
  ...INPAINT_PICTURE_OPTIONS,
  strength: true,
  numInferenceSteps: true,
});

type Call = StableDiffusionXLCall & ScheduleCall & RefiningCall & InpaintCall;

/**
 * Paints the masked part of images anew with Stable Diffusion XL, numerically equal to diffusers' class of this name: with
 * inpainting models, with text-to-image models, and with refiners, as `StableDiffusionInpaintPipeline` does.
 *
 * @example
 * ```js
 * import { StableDiffusionXLInpaintPipeline } from "instruct-pix2pix";
 *
 * const pipe = await StableDiffusionXLInpaintPipeline.fromPretrained("./sdxl-base");
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
export class StableDiffusionXLInpaintPipeline extends StableDiffusionXLBase {
  /** @internal */
  static readonly description = stableDiffusionXLRefiner("StableDiffusionXLInpaintPipeline", checkInpaintUNet);
  protected readonly runOptions = OPTIONS;

  /** Whether the UNet takes an aesthetic score instead of the target size, as refiners do. */
  readonly requiresAestheticsScore: boolean;

  constructor(components: StableDiffusionXLRefinerComponents) {
    super(components);
    this.requiresAestheticsScore = this.settingOf(components, "requiresAestheticsScore");
  }

  /** As in diffusers, images are scaled by the factor alone, also where mean and deviation are known. */
  protected override scaleOf(vae: AutoencoderKL): LatentScale {
    return { ...scaleByStatistics(vae.config), apply: scaleByFactor(vae.config).apply };
  }

  /**
   * Paints.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: InpaintXLOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: InpaintXLOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: InpaintXLOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async (checked) => {
        using scope = new Scope();
        const { scheduler, finite } = await this.begin(checked, scope);
        const call = await sized<Call>(checked);
        await checkGivenTensors({ maskedImageLatents: call.maskedImageLatents }, call.allowNonFinite);
        const { timesteps, from } = refiningSchedule(scheduler, call, { whole: true });
        const pictures = await readPictures(call);
        const conditions = await this.encodeText(call, finite, scope);
        const { image } = scope.add(await this.prepareImage(pictures.image, call, call.size));
        const noised = call.denoisingStart !== undefined;
        const start = { image, masks: pictures.masks, scheduler, timesteps: from, noised, finite };
        const { latents, channels, ...kept } = await startInpainting(call, start, scope);
        const [, , h, w] = latentShape(call);
        const factor = call.vae.scaleFactor;
        const ids = refiningTimeIds(call, [h * factor, w * factor]);
        const shown = { timesteps, ...(channels && { channels }) };
        const steps = await this.guideWith(call, conditions, ids, shown, scope);
        const afterStep = puttingBack(call, kept, { scheduler, timesteps });
        const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite, afterStep });
        return await withOverlay(await finish<T>(denoised, { ...call, finite }), pictures);
      },
    );
  }

  #check(options: InpaintXLOptions<OutputType>, device: string): Unsized<Call> {
    const { requiresAestheticsScore } = this;
    checkInpaintPictures(options);
    const strength = checkFraction("strength", options.strength ?? 0.9999);
    const guidance = checkTextGuidance(options, this.skippableLayers);
    const call = this.checkCommon(options, device, guidance, requiresAestheticsScore);
    const pictures = inpaintPictures(options, call);
    const refining = checkRefining(options, requiresAestheticsScore);
    if (refining.denoisingStart !== undefined && call.latents)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        "latents are noise to start from, but with denoisingStart none is added: give the latents to go on with as image",
      );
    const size = checkInpaintSize(options, { ...call, ...pictures }, 8);
    const schedule = checkSchedule(options, options.numInferenceSteps ?? 50);
    return { ...call, ...schedule, ...refining, ...pictures, size, strength };
  }
}
