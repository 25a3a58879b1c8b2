import { guidanceRows } from "../../conditioning/guidance.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import type { Tensor } from "../../core/tensor.js";
import { checkSchedule, type ScheduleCall } from "../call.js";
import { checkLatentChannels } from "../compatibility.js";
import { INSTRUCT_PIX2PIX } from "../components.js";
import { denoise } from "../denoise.js";
import type { FiniteChecks } from "../finite.js";
import { checkImages, type PipelineImage } from "../image-input.js";
import { checkPairing, finish, initialLatents } from "../latents.js";
import { MAX_SIZE_OPTIONS, type MaxSizeOptions } from "../max-size.js";
import { checkFinite, requireGiven } from "../options.js";
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
} from "../run-options.js";
import { StableDiffusionBase, type StableDiffusionCall } from "./base.js";

/**
 * Options of `InstructPix2PixPipeline.run`.
 *
 * @typeParam T the kind of result: `EditOptions` gives images, `EditOptions<"tensor">` a tensor.
 */
export interface EditOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptOptions,
    SamplingOptions,
    MaxSizeOptions {
  /**
   * The image to edit (path, URL, encoded bytes, sharp instance, RgbImage), several, or a tensor: pixels [B,3,H,W] in 0..1,
   * or image latents [B,C,h,w], used unchanged (the unscaled mean of `vae.encode`).
   */
  image: PipelineImage;
  /** Denoising steps, 1..num_train_timesteps. Default 100, as in diffusers; 20 in `ip2p edit`. */
  numInferenceSteps?: number | undefined;
  /** Text guidance scale: how strongly the instruction is followed. Default 7.5. */
  guidanceScale?: number | undefined;
  /** Image guidance scale: how closely the result follows the image. Default 1.5. Guidance is on if `guidanceScale` > 1 and this is ≥ 1. */
  imageGuidanceScale?: number | undefined;
}

const OPTIONS = optionNames<EditOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...MAX_SIZE_OPTIONS,
  image: true,
  numInferenceSteps: true,
  guidanceScale: true,
  imageGuidanceScale: true,
});

/**
 * What `InstructPix2PixPipeline.run` gives.
 *
 * @typeParam T the kind of result; `EditResult` alone holds images.
 */
export type EditResult<T extends OutputType = "image"> = ImagesResult<T>;

type Call = StableDiffusionCall & ScheduleCall & { image: PipelineImage };

/**
 * Edits images by instruction: InstructPix2Pix (Brooks et al. 2023, https://arxiv.org/abs/2211.09800), numerically
 * equal to diffusers' `StableDiffusionInstructPix2PixPipeline`.
 *
 * Runs may overlap on one pipeline without affecting each other's results. Components can be replaced; a run uses those
 * present at its start.
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * const { images } = await pipe.run({
 *   image: "photo.jpg",
 *   prompt: "make it winter",
 *   numInferenceSteps: 20,
 *   imageGuidanceScale: 1.5,
 *   seed: 42,
 * });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class InstructPix2PixPipeline extends StableDiffusionBase {
  /** @internal */
  static readonly description = INSTRUCT_PIX2PIX;
  protected readonly runOptions = OPTIONS;

  /**
   * Edits.
   *
   * @throws `ERR_INVALID_ARGUMENT` naming the option, `ERR_IMAGE`, `ERR_CONFIG` for components that do not fit together,
   *  `ERR_NOT_FINITE` naming the first step whose latents held NaN or infinity, `ERR_ABORTED`, `ERR_OUT_OF_MEMORY`,
   *   `ERR_DISPOSED`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: EditOptions): Promise<EditResult>;
  async run<T extends OutputType>(options: EditOptions<T>): Promise<EditResult<T>>;
  async run<T extends OutputType>(options: EditOptions<T>): Promise<EditResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async (call) => {
        using scope = new Scope();
        const { scheduler, finite } = await this.begin(call, scope);
        scheduler.setTimesteps(call.numInferenceSteps);
        const { timesteps } = scheduler;
        const imageLatents = scope.add(await this.#imageLatents(call, finite));
        const text = scope.add(await this.encodeText(call, finite));
        const channels = { channels: imageLatents, showsChannels: true };
        const steps = scope.add(await this.guide(call, { text, timesteps, ...channels }));
        const [, , height, width] = imageLatents.shape as [number, number, number, number];
        const shape = [call.count, call.vae.config.latent_channels, height, width];
        const latents = await initialLatents(shape, scheduler, { ...call, given: call.latents });
        const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite });
        return await finish(denoised, { ...call, finite });
      },
    );
  }

  /** Validates the combination of inputs and components, before anything is computed. */
  #check(options: EditOptions<OutputType>, device: string): Call {
    const { image } = options;
    requireGiven("image", image);
    const text = checkFinite("guidanceScale", options.guidanceScale ?? 7.5);
    const picture = checkFinite("imageGuidanceScale", options.imageGuidanceScale ?? 1.5);
    const rows = guidanceRows(text, picture);
    const guided = rows.length > 1;
    const call = this.checkCommon(options, device, {
      rows,
      layout: guided ? EDIT_LAYOUT : EDIT_LAYOUT.slice(0, 1),
      milderGuidance: guided ? `a guidanceScale below ${text} or an imageGuidanceScale below ${picture}` : undefined,
    });
    checkLatentChannels(call.unet.config, call.vae.config);
    const images = checkImages(image, { latentChannels: call.vae.config.latent_channels });
    checkPairing("images", images.count, call);
    return { ...call, ...checkSchedule({}, options.numInferenceSteps ?? 100), image };
  }

  /** [B·n,C,h,w]: the images' latents, the mean of what the autoencoder predicts. Not scaled. */
  async #imageLatents(call: Call, finite: FiniteChecks): Promise<Tensor> {
    using scope = new Scope();
    const input = scope.add(await this.prepareImage(call.image, call));
    return await pictureLatents(call, input.image, { draws: false, scaled: false }, finite);
  }
}

/** Diffusers' rows of guidance: prompt and image, image alone, neither. */
export const EDIT_LAYOUT = [
  { text: true, image: true },
  { text: false, image: true },
  { text: false, image: false },
];
