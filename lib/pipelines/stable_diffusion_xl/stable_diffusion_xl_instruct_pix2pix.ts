import { guidanceRows } from "../../conditioning/guidance.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import type { Tensor } from "../../core/tensor.js";
import { checkSchedule, type ScheduleCall } from "../call.js";
import { checkLatentChannels } from "../compatibility.js";
import { denoise } from "../denoise.js";
import type { FiniteChecks } from "../finite.js";
import type { PipelineImage } from "../image-input.js";
import { finish, initialLatents } from "../latents.js";
import { fittedPicture, MAX_SIZE_OPTIONS, type MaxSizeOptions } from "../max-size.js";
import { checkFinite, checkFraction, refuseArgument, requireGiven } from "../options.js";
import { pictureLatents } from "../picture-latents.js";
import {
  type ImagesResult,
  type OutputType,
  RUN_OPTIONS,
  type RunOptions,
  SAMPLING_OPTIONS,
  type SamplingOptions,
} from "../run-options.js";
import { stepsUntil } from "../schedule.js";
import { checkSize } from "../size.js";
import { EDIT_LAYOUT } from "../stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionXLBase, type StableDiffusionXLCall, type TimeIds } from "./base.js";
import { type StableDiffusionXLEditComponents, stableDiffusionXLEdit } from "./components.js";
import {
  checkDenoisingEnd,
  checkSizes,
  DENOISING_END_OPTIONS,
  type DenoisingEndOptions,
  PROMPT_PAIR_OPTIONS,
  type PromptPairOptions,
  SIZE_OPTIONS,
  type SizeCall,
  type SizeOptions,
} from "./options.js";

/**
 * Options of `StableDiffusionXLInstructPix2PixPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface EditXLOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptPairOptions,
    SamplingOptions,
    SizeOptions,
    DenoisingEndOptions,
    MaxSizeOptions {
  /**
   * The image to edit, several, or a tensor: pixels [B,3,H,W] in 0..1, or image latents [B,C,h,w], used unchanged (the
   * unscaled mean of `vae.encode`). Pixels are resized to `height` and `width`.
   */
  image: PipelineImage;
  /**
   * Pixels. Default the UNet's `sample_size` times the autoencoder's factor, whatever the image's; with `maxSize` the image
   * decides.
   */
  height?: number | undefined;
  /** Likewise. */
  width?: number | undefined;
  /** Denoising steps, 1..num_train_timesteps. Default 100. */
  numInferenceSteps?: number | undefined;
  /** Text guidance scale: how strongly the instruction is followed. Default 5. */
  guidanceScale?: number | undefined;
  /** Image guidance scale: how closely the result follows the image. Default 1.5. Guidance is on if `guidanceScale` > 1 and this is ≥ 1. */
  imageGuidanceScale?: number | undefined;
  /**
   * φ, 0..1: the share of the guided prediction that is scaled to the deviation of the prompt's, against overexposed
   * images (Lin et al. 2023, https://arxiv.org/abs/2305.08891). Default 0.
   */
  guidanceRescale?: number | undefined;
}

const OPTIONS = optionNames<EditXLOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_PAIR_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SIZE_OPTIONS,
  ...DENOISING_END_OPTIONS,
  ...MAX_SIZE_OPTIONS,
  image: true,
  height: true,
  width: true,
  numInferenceSteps: true,
  guidanceScale: true,
  imageGuidanceScale: true,
  guidanceRescale: true,
});

type Call = StableDiffusionXLCall &
  ScheduleCall & {
    image: PipelineImage;
    /** Undefined where the image decides, which is not read yet. */
    size: Size | undefined;
    /** Those of the options; what is left out follows from the size. */
    sizes: SizeCall;
    denoisingEnd: number | undefined;
  };

interface Size {
  height: number;
  width: number;
}

/**
 * Edits images by instruction with Stable Diffusion XL: InstructPix2Pix (Brooks et al. 2023,
 * https://arxiv.org/abs/2211.09800), numerically equal to diffusers' class of this name.
 *
 * @example
 * ```js
 * import { StableDiffusionXLInstructPix2PixPipeline } from "instruct-pix2pix";
 *
 * const pipe = await StableDiffusionXLInstructPix2PixPipeline.fromPretrained("./sdxl-edit");
 * const { images } = await pipe.run({
 *   image: "photo.jpg",
 *   prompt: "make it winter",
 *   numInferenceSteps: 20,
 * });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionXLInstructPix2PixPipeline extends StableDiffusionXLBase {
  /** @internal */
  static readonly description = stableDiffusionXLEdit("StableDiffusionXLInstructPix2PixPipeline", checkLatentChannels);
  protected readonly runOptions = OPTIONS;

  /** Whether the UNet takes scaled image latents, as CosXL Edit does. */
  readonly isCosxlEdit: boolean;

  constructor(components: StableDiffusionXLEditComponents) {
    super(components);
    this.isCosxlEdit = this.settingOf(components, "isCosxlEdit");
  }

  /**
   * Edits.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: EditXLOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: EditXLOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: EditXLOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async (call) => {
        using scope = new Scope();
        const { scheduler, finite } = await this.begin(call, scope);
        scheduler.setTimesteps(call.numInferenceSteps);
        const timesteps = stepsUntil(scheduler, scheduler.timesteps, call.denoisingEnd);
        const conditions = await this.encodeText(call, finite, scope);
        const { image, size } = call.size ? { ...call, size: call.size } : await fittedPicture(call, call.maxSize!);
        const factor = call.vae.scaleFactor;
        const [h, w] = [Math.floor(size.height / factor), Math.floor(size.width / factor)];
        const channels = scope.add(await this.#imageLatents({ ...call, image }, size, [h, w], finite));
        const shown = { timesteps, channels, showsChannels: true };
        const steps = await this.guideWith(call, conditions, timeIds(call.sizes, size), shown, scope);
        const shape = [call.count, call.vae.config.latent_channels, h, w];
        const latents = await initialLatents(shape, scheduler, { ...call, given: call.latents });
        const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite });
        return await finish(denoised, { ...call, finite });
      },
    );
  }

  #check(options: EditXLOptions<OutputType>, device: string): Call {
    const { unet, vae } = this;
    const { image } = options;
    requireGiven("image", image);
    const text = checkFinite("guidanceScale", options.guidanceScale ?? 5);
    const picture = checkFinite("imageGuidanceScale", options.imageGuidanceScale ?? 1.5);
    const rows = guidanceRows(text, picture);
    const guided = rows.length > 1;
    const call = this.checkCommon(options, device, {
      rows,
      layout: guided ? EDIT_LAYOUT : EDIT_LAYOUT.slice(0, 1),
      milderGuidance: guided ? `a guidanceScale below ${text} or an imageGuidanceScale below ${picture}` : undefined,
      guidanceRescale: checkFraction("guidanceRescale", options.guidanceRescale ?? 0),
    });
    checkLatentChannels(unet.config, vae.config);
    const size = call.maxSize === undefined ? checkSize(options, { unet, vae, multiple: 1 }) : undefined;
    for (const edge of ["height", "width"] as const)
      if (size && size[edge] < vae.scaleFactor) refuseArgument(edge, size[edge], `at least ${vae.scaleFactor}`);
    return {
      ...call,
      ...checkSchedule({}, options.numInferenceSteps ?? 100),
      ...{ image, size, sizes: checkSizes(options) },
      denoisingEnd: checkDenoisingEnd(options.denoisingEnd),
    };
  }

  /** [B·n,C,h,w]: the images' latents, the mean of what the autoencoder predicts; scaled by its factor for CosXL only. */
  async #imageLatents(
    call: Call,
    size: Size,
    [h, w]: readonly [number, number],
    finite: FiniteChecks,
  ): Promise<Tensor> {
    using scope = new Scope();
    const input = scope.add(await this.prepareImage(call.image, call, size));
    const latents = scope.add(await pictureLatents(call, input.image, { draws: false, scaled: false }, finite));
    const [, , height, width] = latents.shape;
    if (height !== h || width !== w)
      refuseArgument("image", `latents of ${height} × ${width}`, `latents of ${h} × ${w}, or height and width theirs`);
    return this.isCosxlEdit ? await latents.mul(call.vae.config.scaling_factor) : await latents.clone();
  }
}

/** All rows get the same. */
function timeIds({ originalSize, cropsCoordsTopLeft, targetSize }: SizeCall, { height, width }: Size): TimeIds {
  const own = [height, width] as const;
  const ids = [...(originalSize ?? own), ...cropsCoordsTopLeft, ...(targetSize ?? own)];
  return { positive: ids, negative: ids };
}
