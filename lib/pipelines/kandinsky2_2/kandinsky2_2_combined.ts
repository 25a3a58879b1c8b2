import { optionNames } from "../../core/known-options.js";
import { Tensor } from "../../core/tensor.js";
import { type PipelineImage, partsOf } from "../image-input.js";
import type { ImagesResult, OutputType } from "../run-options.js";
import {
  COMBINED_OPTIONS,
  type CombinedOptions,
  KandinskyV22CombinedBase,
  kandinskyCombined,
} from "./combined-base.js";
import { KandinskyV22Pipeline } from "./kandinsky2_2.js";
import { KandinskyV22Img2ImgPipeline } from "./kandinsky2_2_img2img.js";
import { KandinskyV22InpaintPipeline } from "./kandinsky2_2_inpaint.js";

/**
 * Makes images from text, by Kandinsky 2.2's prior and decoder; numerically equal to diffusers' class of this name.
 *
 * @example
 * ```js
 * import { KandinskyV22CombinedPipeline } from "instruct-pix2pix";
 *
 * const pipe = await KandinskyV22CombinedPipeline.fromPretrained("./decoder");
 * const { images } = await pipe.run({
 *   prompt: "a lighthouse",
 *   height: 64,
 *   width: 64,
 *   priorNumInferenceSteps: 10,
 *   numInferenceSteps: 20,
 * });
 * await images[0].save("lighthouse.png");
 * pipe.dispose();
 * ```
 */
export class KandinskyV22CombinedPipeline extends KandinskyV22CombinedBase {
  /** @internal */
  static readonly description = kandinskyCombined("KandinskyV22CombinedPipeline");
  protected readonly runOptions = COMBINED_OPTIONS;

  protected decoder() {
    return new KandinskyV22Pipeline(this);
  }

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: CombinedOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: CombinedOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: CombinedOptions<T>): Promise<ImagesResult<T>> {
    return await this.runBoth<T>(options);
  }
}

/**
 * Options of `KandinskyV22Img2ImgCombinedPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface CombinedImageToImageOptions<T extends OutputType = "image"> extends CombinedOptions<T> {
  /** As in `KandinskyV22Img2ImgPipeline`. */
  image: PipelineImage;
  /** How far the result may be from the image, 0..1: the part of the steps that is taken. Default 0.3. */
  strength?: number | undefined;
}

/**
 * Makes images from images and text, by Kandinsky 2.2's prior and decoder; numerically equal to diffusers' class of this
 * name.
 *
 * @example
 * ```js
 * import { KandinskyV22Img2ImgCombinedPipeline } from "instruct-pix2pix";
 *
 * const pipe = await KandinskyV22Img2ImgCombinedPipeline.fromPretrained("./decoder");
 * const { images } = await pipe.run({
 *   prompt: "a lighthouse in winter",
 *   image: "photo.jpg",
 *   strength: 0.3,
 *   height: 64,
 *   width: 64,
 *   priorNumInferenceSteps: 10,
 * });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class KandinskyV22Img2ImgCombinedPipeline extends KandinskyV22CombinedBase {
  /** @internal */
  static readonly description = kandinskyCombined("KandinskyV22Img2ImgCombinedPipeline");
  protected readonly runOptions = optionNames<CombinedImageToImageOptions<OutputType>>()({
    ...COMBINED_OPTIONS,
    image: true,
    strength: true,
  });

  protected decoder({ image }: CombinedImageToImageOptions<OutputType>) {
    const decoder = new KandinskyV22Img2ImgPipeline(this);
    // diffusers repeats images for the results, but not tensors.
    decoder.sharesNoise = partsOf("image", image).some((part) => part instanceof Tensor);
    return decoder;
  }

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  async run(options: CombinedImageToImageOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: CombinedImageToImageOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: CombinedImageToImageOptions<T>): Promise<ImagesResult<T>> {
    return await this.runBoth<T>(options, { image: options.image, strength: options.strength });
  }
}

/**
 * Options of `KandinskyV22InpaintCombinedPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface CombinedInpaintOptions<T extends OutputType = "image"> extends CombinedOptions<T> {
  /** As in `KandinskyV22InpaintPipeline`. */
  image: PipelineImage;
  /** White, or 1, where the image is painted anew. */
  maskImage: PipelineImage;
}

/**
 * Paints parts of images anew by text, by Kandinsky 2.2's prior and decoder; numerically equal to diffusers' class of this
 * name.
 *
 * @example
 * ```js
 * import { KandinskyV22InpaintCombinedPipeline } from "instruct-pix2pix";
 *
 * const id = "kandinsky-community/kandinsky-2-2-decoder-inpaint";
 * const pipe = await KandinskyV22InpaintCombinedPipeline.fromPretrained(id);
 * const { images } = await pipe.run({
 *   prompt: "a red door",
 *   image: "photo.jpg",
 *   maskImage: "mask.png",
 *   height: 64,
 *   width: 64,
 *   priorNumInferenceSteps: 10,
 * });
 * await images[0].save("door.png");
 * pipe.dispose();
 * ```
 */
export class KandinskyV22InpaintCombinedPipeline extends KandinskyV22CombinedBase {
  /** @internal */
  static readonly description = kandinskyCombined("KandinskyV22InpaintCombinedPipeline", { inpaints: true });
  protected readonly runOptions = optionNames<CombinedInpaintOptions<OutputType>>()({
    ...COMBINED_OPTIONS,
    image: true,
    maskImage: true,
  });

  protected decoder() {
    return new KandinskyV22InpaintPipeline(this);
  }

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  async run(options: CombinedInpaintOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: CombinedInpaintOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: CombinedInpaintOptions<T>): Promise<ImagesResult<T>> {
    return await this.runBoth<T>(options, { image: options.image, maskImage: options.maskImage });
  }
}
