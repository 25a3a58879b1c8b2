import { optionNames } from "../../core/known-options.js";
import {
  type ImagesResult,
  type OutputType,
  PROMPT_OPTIONS,
  RUN_OPTIONS,
  SAMPLING_OPTIONS,
  SCHEDULE_OPTIONS,
} from "../run-options.js";
import {
  StableDiffusionPipeline,
  type TextToImageCall,
  type TextToImageOptions,
} from "../stable_diffusion/stable_diffusion.js";
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
import { readControls } from "./pictures.js";

/**
 * Options of `StableDiffusionControlNetPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface ControlNetTextToImageOptions<T extends OutputType = "image">
  extends Omit<TextToImageOptions<T>, "guidanceRescale" | keyof ControlledSizeOptions>,
    ControlNetOptions,
    ControlledSizeOptions {
  /**
   * The control image; see {@link ControlImage}. For several ControlNets and several prompts a list for each prompt, with
   * one image for each ControlNet, is also taken. `controlnetConditioningScale` is 1 by default.
   */
  image: ControlImage;
}

const { guidanceRescale: _guidanceRescale, ...TEXT_GUIDANCE } = TEXT_GUIDANCE_OPTIONS;

const OPTIONS = optionNames<ControlNetTextToImageOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...TEXT_GUIDANCE,
  ...CONTROLNET_OPTIONS,
  ...CONTROLLED_SIZE_OPTIONS,
  image: true,
  numInferenceSteps: true,
});

type Call = Omit<TextToImageCall, "height" | "width"> & { control: ControlCall; size: ControlledSizeOptions };

/**
 * Makes images from text and control images (Zhang et al. 2023, "ControlNet", https://arxiv.org/abs/2302.05543), numerically
 * equal to diffusers' class of this name. Steps in which no ControlNet counts do without them.
 *
 * @example
 * ```js
 * import { ControlNetModel, StableDiffusionControlNetPipeline } from "instruct-pix2pix";
 *
 * const controlnet = await ControlNetModel.fromPretrained("./controlnet-canny");
 * const pipe = await StableDiffusionControlNetPipeline.fromPretrained("./base", { controlnet });
 * const { images } = await pipe.run({ prompt: "a lighthouse", image: "edges.png", numInferenceSteps: 20 });
 * await images[0].save("lighthouse.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionControlNetPipeline
  extends StableDiffusionPipeline
  implements StableDiffusionControlNetComponents
{
  /** @internal */
  static override readonly description = stableDiffusionControlNet("StableDiffusionControlNetPipeline");
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
  override async run(options: ControlNetTextToImageOptions): Promise<ImagesResult>;
  override async run<T extends OutputType>(options: ControlNetTextToImageOptions<T>): Promise<ImagesResult<T>>;
  override async run<T extends OutputType>(options: ControlNetTextToImageOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async (call) => {
        using controls = await readControls(call.control, call, call.size);
        return await this.generate<T>({ ...call, ...controls.size, controls });
      },
    );
  }

  #check(options: ControlNetTextToImageOptions<OutputType>, device: string): Call {
    const call = this.checkCall(options, device);
    const { controlnet } = this;
    const given = { controlnet, image: options.image, defaultScale: 1, batch: call.batch, byPrompt: true };
    return { ...call, size: checkControlledSize(options), control: checkControl(options, { ...given, name: "image" }) };
  }
}
