import { optionNames } from "../../core/known-options.js";
import type { Tensor } from "../../core/tensor.js";
import { checkTensors } from "../call.js";
import type { PipelineImage } from "../image-input.js";
import {
  type ImagesResult,
  type OutputType,
  PROMPT_OPTIONS,
  RUN_OPTIONS,
  SAMPLING_OPTIONS,
  SCHEDULE_OPTIONS,
} from "../run-options.js";
import {
  type ImageToImageCall,
  type ImageToImageOptions,
  StableDiffusionImg2ImgPipeline,
} from "../stable_diffusion/stable_diffusion_img2img.js";
import { TEXT_GUIDANCE_OPTIONS } from "../stable_diffusion/text-options.js";
import {
  type ControlNets,
  netsOf,
  type StableDiffusionControlNetComponents,
  stableDiffusionControlNet,
} from "./components.js";
import {
  CONTROLLED_SIZE_OPTIONS,
  CONTROLNET_OPTIONS,
  type ControlCall,
  type ControlImage,
  type ControlledSizeOptions,
  type ControlNetOptions,
  checkControl,
  checkControlledSize,
} from "./options.js";
import { checkGivenLatents, readControls, withSizeOf } from "./pictures.js";

/**
 * Options of `StableDiffusionControlNetImg2ImgPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface ControlNetImageToImageOptions<T extends OutputType = "image">
  extends Omit<ImageToImageOptions<T>, "maxSize">,
    ControlNetOptions,
    ControlledSizeOptions {
  /** The image to start from; see `StableDiffusionImg2ImgPipeline`. It has the control image's size, or is resized. */
  image: PipelineImage;
  /** The control image; see {@link ControlImage}. `controlnetConditioningScale` is 0.8 by default. */
  controlImage: ControlImage;
  /** Noised latents [B·n,C,h,w] to start from, instead of those of the image with noise; they are not scaled. */
  latents?: Tensor | undefined;
}

const { guidanceRescale: _guidanceRescale, ...TEXT_GUIDANCE } = TEXT_GUIDANCE_OPTIONS;

const OPTIONS = optionNames<ControlNetImageToImageOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...TEXT_GUIDANCE,
  ...CONTROLNET_OPTIONS,
  ...CONTROLLED_SIZE_OPTIONS,
  image: true,
  controlImage: true,
  strength: true,
  numInferenceSteps: true,
});

type Call = ImageToImageCall & { control: ControlCall; size: ControlledSizeOptions };

/**
 * Makes images from images, text and control images (Zhang et al. 2023, "ControlNet",
 * https://arxiv.org/abs/2302.05543), numerically equal to diffusers' class of this name. Steps in which no ControlNet counts do
 * without them.
 *
 * @example
 * ```js
 * import { ControlNetModel, StableDiffusionControlNetImg2ImgPipeline } from "instruct-pix2pix";
 *
 * const controlnet = await ControlNetModel.fromPretrained("./controlnet-canny");
 * const pipe = await StableDiffusionControlNetImg2ImgPipeline.fromPretrained("./base", { controlnet });
 * const { images } = await pipe.run({
 *   prompt: "in winter",
 *   image: "photo.jpg",
 *   controlImage: "edges.png",
 *   strength: 0.6,
 * });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionControlNetImg2ImgPipeline
  extends StableDiffusionImg2ImgPipeline
  implements StableDiffusionControlNetComponents
{
  /** @internal */
  static override readonly description = stableDiffusionControlNet("StableDiffusionControlNetImg2ImgPipeline");
  /** @internal */
  static override readonly outdated = {};
  protected override readonly runOptions = OPTIONS;

  controlnet: ControlNets;

  constructor(components: StableDiffusionControlNetComponents) {
    super(components);
    this.controlnet = components.controlnet;
    this.hold();
  }

  protected override get models() {
    return [...netsOf(this.controlnet), ...super.models];
  }

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  override async run(options: ControlNetImageToImageOptions): Promise<ImagesResult>;
  override async run<T extends OutputType>(options: ControlNetImageToImageOptions<T>): Promise<ImagesResult<T>>;
  override async run<T extends OutputType>(options: ControlNetImageToImageOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.check(options, device),
      async (call) => {
        using controls = await readControls(call.control, call, call.size);
        const image = await withSizeOf(controls, call.image, call, call.size);
        checkGivenLatents(call, controls);
        return await this.generate<T>({ ...call, image, controls });
      },
    );
  }

  protected override check(options: ControlNetImageToImageOptions<OutputType>, device: string): Call {
    const { latents, controlImage: image } = options;
    checkTensors({ latents });
    const call = super.check(options, device);
    const given = { controlnet: this.controlnet, image, defaultScale: 0.8, batch: call.batch };
    const control = checkControl(options, { ...given, name: "controlImage" });
    return { ...call, latents, size: checkControlledSize(options), control };
  }
}
