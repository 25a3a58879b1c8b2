import { optionNames } from "../../core/known-options.js";
import type { PipelineImage } from "../image-input.js";
import { checkInpaintUNet } from "../inpainting/call.js";
import { INPAINT_PICTURE_OPTIONS } from "../inpainting/options.js";
import {
  type ImagesResult,
  type OutputType,
  PROMPT_OPTIONS,
  RUN_OPTIONS,
  SAMPLING_OPTIONS,
  SCHEDULE_OPTIONS,
} from "../run-options.js";
import {
  type InpaintingCall,
  type InpaintOptions,
  StableDiffusionInpaintPipeline,
} from "../stable_diffusion/stable_diffusion_inpaint.js";
import { TEXT_GUIDANCE_OPTIONS } from "../stable_diffusion/text-options.js";
import {
  type ControlNets,
  netsOf,
  type StableDiffusionControlNetComponents,
  stableDiffusionControlNet,
} from "./components.js";
import { controlledPictures } from "./inpaint-pictures.js";
import {
  CONTROLNET_OPTIONS,
  type ControlCall,
  type ControlImage,
  type ControlledSizeOptions,
  type ControlNetOptions,
  checkControl,
  checkControlledSize,
} from "./options.js";

/**
 * Options of `StableDiffusionControlNetInpaintPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface ControlNetInpaintOptions<T extends OutputType = "image">
  extends Omit<InpaintOptions<T>, "maxSize" | "maskedImageLatents" | keyof ControlledSizeOptions>,
    ControlNetOptions,
    ControlledSizeOptions {
  /** The image to paint in, several, or a tensor [B,3,H,W] in 0..1. It has the control image's size, or is resized. */
  image: PipelineImage;
  /**
   * White where the image is painted anew; see `StableDiffusionInpaintPipeline`. It has the image's size, or is resized
   * with it to `height` and `width`.
   */
  maskImage: PipelineImage;
  /**
   * The control image; see {@link ControlImage}. `controlnetConditioningScale` is 0.5 by default. With `paddingMaskCrop` the
   * same part is cut out of it as of the image, and it is no tensor.
   */
  controlImage: ControlImage;
}

const { guidanceRescale: _guidanceRescale, ...TEXT_GUIDANCE } = TEXT_GUIDANCE_OPTIONS;
const { maxSize: _maxSize, maskedImageLatents: _maskedImageLatents, ...PICTURES } = INPAINT_PICTURE_OPTIONS;

const OPTIONS = optionNames<ControlNetInpaintOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...PICTURES,
  ...TEXT_GUIDANCE,
  ...CONTROLNET_OPTIONS,
  strength: true,
  numInferenceSteps: true,
  controlImage: true,
});

type Call = Omit<InpaintingCall, "size"> & { control: ControlCall; given: ControlledSizeOptions };

/**
 * Paints the masked part of images anew, led by control images (Zhang et al. 2023, "ControlNet",
 * https://arxiv.org/abs/2302.05543); numerically equal to diffusers' class of this name, and for the same UNets as
 * `StableDiffusionInpaintPipeline`. The image decides the size of the result. Steps in which no ControlNet counts do without
 * them.
 *
 * @example
 * ```js
 * import { ControlNetModel, StableDiffusionControlNetInpaintPipeline } from "instruct-pix2pix";
 *
 * const controlnet = await ControlNetModel.fromPretrained("./controlnet-canny");
 * const pipe = await StableDiffusionControlNetInpaintPipeline.fromPretrained("./base", { controlnet });
 * const { images } = await pipe.run({
 *   prompt: "a red door",
 *   image: "photo.jpg",
 *   maskImage: "mask.png",
 *   controlImage: "edges.png",
 *   numInferenceSteps: 20,
 * });
 * await images[0].save("door.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionControlNetInpaintPipeline
  extends StableDiffusionInpaintPipeline
  implements StableDiffusionControlNetComponents
{
  /** @internal */
  static override readonly description = stableDiffusionControlNet(
    "StableDiffusionControlNetInpaintPipeline",
    checkInpaintUNet,
  );
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
   * Paints.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  override async run(options: ControlNetInpaintOptions): Promise<ImagesResult>;
  override async run<T extends OutputType>(options: ControlNetInpaintOptions<T>): Promise<ImagesResult<T>>;
  override async run<T extends OutputType>(options: ControlNetInpaintOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async ({ control, given, ...call }) => {
        using ready = await controlledPictures(call, control, given);
        const { pictures, controls, size } = ready;
        return await this.paint<T>({ ...call, size, controls }, pictures);
      },
    );
  }

  #check(options: ControlNetInpaintOptions<OutputType>, device: string): Call {
    const call = this.checkPainting(options, device);
    const given = { controlnet: this.controlnet, image: options.controlImage, defaultScale: 0.5, batch: call.batch };
    const control = checkControl(options, { ...given, name: "controlImage" });
    return { ...call, control, given: checkControlledSize(options) };
  }
}
