import { optionNames } from "../../core/known-options.js";
import type { PipelineImage } from "../image-input.js";
import { type ImagesResult, type OutputType, RUN_OPTIONS, SAMPLING_OPTIONS, SCHEDULE_OPTIONS } from "../run-options.js";
import { TEXT_GUIDANCE_OPTIONS } from "../stable_diffusion/text-options.js";
import { NEGATIVE_SIZE_OPTIONS, PROMPT_PAIR_OPTIONS, SIZE_OPTIONS } from "../stable_diffusion_xl/options.js";
import {
  type ImageToImageXLCall,
  type ImageToImageXLOptions,
  StableDiffusionXLImg2ImgPipeline,
} from "../stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import {
  type ControlNets,
  netsOf,
  type StableDiffusionXLControlNetRefinerComponents,
  stableDiffusionXLRefinerControlNet,
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
 * Options of `StableDiffusionXLControlNetImg2ImgPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface ControlNetImageToImageXLOptions<T extends OutputType = "image">
  extends Omit<ImageToImageXLOptions<T>, "denoisingStart" | "denoisingEnd" | "guidanceRescale" | "maxSize">,
    ControlNetOptions,
    ControlledSizeOptions {
  /** The image to start from; see `StableDiffusionXLImg2ImgPipeline`. It has the control image's size, or is resized. */
  image: PipelineImage;
  /** The control image; see {@link ControlImage}. `controlnetConditioningScale` is 0.8 by default. */
  controlImage: ControlImage;
  /** How far the result may be from the image, 0..1: the part of the steps that is taken. Default 0.8. */
  strength?: number | undefined;
}

const { guidanceRescale: _guidanceRescale, ...TEXT_GUIDANCE } = TEXT_GUIDANCE_OPTIONS;

const OPTIONS = optionNames<ControlNetImageToImageXLOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_PAIR_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...TEXT_GUIDANCE,
  ...SIZE_OPTIONS,
  ...NEGATIVE_SIZE_OPTIONS,
  ...CONTROLNET_OPTIONS,
  ...CONTROLLED_SIZE_OPTIONS,
  aestheticScore: true,
  negativeAestheticScore: true,
  image: true,
  controlImage: true,
  strength: true,
  numInferenceSteps: true,
});

type Call = ImageToImageXLCall & { control: ControlCall; size: ControlledSizeOptions };

/**
 * Makes images from images, text and control images with Stable Diffusion XL (Zhang et al. 2023, "ControlNet",
 * https://arxiv.org/abs/2302.05543), numerically equal to diffusers' class of this name. Steps in which no ControlNet counts do
 * without them.
 *
 * @example
 * ```js
 * import { ControlNetModel, StableDiffusionXLControlNetImg2ImgPipeline } from "instruct-pix2pix";
 *
 * const controlnet = await ControlNetModel.fromPretrained("./controlnet-canny-sdxl");
 * const pipe = await StableDiffusionXLControlNetImg2ImgPipeline.fromPretrained("./sdxl-base", { controlnet });
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
export class StableDiffusionXLControlNetImg2ImgPipeline extends StableDiffusionXLImg2ImgPipeline {
  /** @internal */
  static override readonly description = stableDiffusionXLRefinerControlNet(
    "StableDiffusionXLControlNetImg2ImgPipeline",
  );
  protected override readonly runOptions = OPTIONS;

  controlnet: ControlNets;

  constructor(components: StableDiffusionXLControlNetRefinerComponents) {
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
  override async run(options: ControlNetImageToImageXLOptions): Promise<ImagesResult>;
  override async run<T extends OutputType>(options: ControlNetImageToImageXLOptions<T>): Promise<ImagesResult<T>>;
  override async run<T extends OutputType>(options: ControlNetImageToImageXLOptions<T>): Promise<ImagesResult<T>> {
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

  protected override check(options: ControlNetImageToImageXLOptions<OutputType>, device: string): Call {
    const { controlImage: image, strength = 0.8 } = options;
    const call = super.check({ ...options, strength }, device);
    const given = { controlnet: this.controlnet, image, defaultScale: 0.8, batch: call.batch };
    const control = checkControl(options, { ...given, name: "controlImage" });
    return { ...call, size: checkControlledSize(options), control };
  }
}
