import { optionNames } from "../../core/known-options.js";
import { type ImagesResult, type OutputType, RUN_OPTIONS, SAMPLING_OPTIONS, SCHEDULE_OPTIONS } from "../run-options.js";
import { TEXT_GUIDANCE_OPTIONS } from "../stable_diffusion/text-options.js";
import {
  DENOISING_END_OPTIONS,
  NEGATIVE_SIZE_OPTIONS,
  PROMPT_PAIR_OPTIONS,
  SIZE_OPTIONS,
} from "../stable_diffusion_xl/options.js";
import {
  StableDiffusionXLPipeline,
  type TextToImageXLCall,
  type TextToImageXLOptions,
} from "../stable_diffusion_xl/stable_diffusion_xl.js";
import {
  type ControlNets,
  netsOf,
  type StableDiffusionXLControlNetComponents,
  stableDiffusionXLControlNet,
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
 * Options of `StableDiffusionXLControlNetPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface ControlNetTextToImageXLOptions<T extends OutputType = "image">
  extends Omit<TextToImageXLOptions<T>, "guidanceRescale" | keyof ControlledSizeOptions>,
    ControlNetOptions,
    ControlledSizeOptions {
  /** The control image; see {@link ControlImage}. `controlnetConditioningScale` is 1 by default. */
  image: ControlImage;
}

const { guidanceRescale: _guidanceRescale, ...TEXT_GUIDANCE } = TEXT_GUIDANCE_OPTIONS;

const OPTIONS = optionNames<ControlNetTextToImageXLOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_PAIR_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...TEXT_GUIDANCE,
  ...SIZE_OPTIONS,
  ...NEGATIVE_SIZE_OPTIONS,
  ...DENOISING_END_OPTIONS,
  ...CONTROLNET_OPTIONS,
  ...CONTROLLED_SIZE_OPTIONS,
  image: true,
  numInferenceSteps: true,
});

type Call = Omit<TextToImageXLCall, "height" | "width"> & { control: ControlCall; size: ControlledSizeOptions };

/**
 * Makes images from text and control images with Stable Diffusion XL (Zhang et al. 2023, "ControlNet", https://arxiv.org/abs/2302.05543), numerically
 * equal to diffusers' class of this name. Steps in which no ControlNet counts do without them.
 *
 * @example
 * ```js
 * import { ControlNetModel, StableDiffusionXLControlNetPipeline } from "instruct-pix2pix";
 *
 * const controlnet = await ControlNetModel.fromPretrained("./controlnet-canny-sdxl");
 * const pipe = await StableDiffusionXLControlNetPipeline.fromPretrained("./sdxl-base", { controlnet });
 * const { images } = await pipe.run({ prompt: "a lighthouse", image: "edges.png", numInferenceSteps: 20 });
 * await images[0].save("lighthouse.png");
 * pipe.dispose();
 * ```
 */
export class StableDiffusionXLControlNetPipeline extends StableDiffusionXLPipeline {
  /** @internal */
  static override readonly description = stableDiffusionXLControlNet("StableDiffusionXLControlNetPipeline");
  protected override readonly runOptions = OPTIONS;

  controlnet: ControlNets;

  constructor(components: StableDiffusionXLControlNetComponents) {
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
  override async run(options: ControlNetTextToImageXLOptions): Promise<ImagesResult>;
  override async run<T extends OutputType>(options: ControlNetTextToImageXLOptions<T>): Promise<ImagesResult<T>>;
  override async run<T extends OutputType>(options: ControlNetTextToImageXLOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async (call) => {
        using controls = await readControls(call.control, call, call.size);
        return await this.generate<T>({ ...call, ...controls.size, controls });
      },
    );
  }

  #check(options: ControlNetTextToImageXLOptions<OutputType>, device: string): Call {
    const call = this.checkCall(options, device);
    const { controlnet } = this;
    const given = { controlnet, image: options.image, defaultScale: 1, batch: call.batch };
    return { ...call, size: checkControlledSize(options), control: checkControl(options, { ...given, name: "image" }) };
  }
}
