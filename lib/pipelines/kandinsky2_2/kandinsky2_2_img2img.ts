import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import type { Tensor } from "../../core/tensor.js";
import { checkImages, type PipelineImage, prepareImage } from "../image-input.js";
import { checkPairing, expandRows, unitNoise } from "../latents.js";
import { checkFraction, requireGiven } from "../options.js";
import type { ImagesResult, OutputType } from "../run-options.js";
import { setPartialSchedule } from "../schedule.js";
import { kandinskyDecoder } from "./components.js";
import { type DecoderCall, KandinskyV22DecoderBase } from "./decoder-base.js";
import { DECODER_OPTIONS, type KandinskyV22DecoderOptions } from "./options.js";

/**
 * Options of `KandinskyV22Img2ImgPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface KandinskyV22ImageToImageOptions<T extends OutputType = "image"> extends KandinskyV22DecoderOptions<T> {
  /**
   * The image to start from, several, or pixels [B,3,H,W] in 0..1. It is resized to **width rows and height columns**, as
   * diffusers does, which exchanges them: the result has that size.
   */
  image: PipelineImage;
  /** How far the result may be from the image, 0..1: the part of the steps that is taken. Default 0.3. */
  strength?: number | undefined;
}

const OPTIONS = optionNames<KandinskyV22ImageToImageOptions<OutputType>>()({
  ...DECODER_OPTIONS,
  image: true,
  strength: true,
});

type Call = DecoderCall & { image: PipelineImage; strength: number };

/**
 * Makes images from images and the embeddings that a prior predicts; numerically equal to diffusers' class of this name.
 *
 * @example
 * ```js
 * import { KandinskyV22Img2ImgPipeline, KandinskyV22PriorPipeline } from "instruct-pix2pix";
 *
 * const prior = await KandinskyV22PriorPipeline.fromPretrained("./prior");
 * const embeds = await prior.run({ prompt: "a lighthouse in winter", numInferenceSteps: 10 });
 * prior.dispose();
 * const pipe = await KandinskyV22Img2ImgPipeline.fromPretrained("./decoder");
 * const { images } = await pipe.run({ ...embeds, image: "photo.jpg", strength: 0.3, height: 64, width: 64 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class KandinskyV22Img2ImgPipeline extends KandinskyV22DecoderBase {
  /** @internal */
  static readonly description = kandinskyDecoder("KandinskyV22Img2ImgPipeline");
  protected readonly runOptions = OPTIONS;
  /** @internal Whether one image for several embeddings gets one noise for all of them, as in diffusers. */
  sharesNoise = true;

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: KandinskyV22ImageToImageOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: KandinskyV22ImageToImageOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: KandinskyV22ImageToImageOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options as object,
      (device) => this.#check(options, device),
      async (call) =>
        await this.decodeEmbeddings<T>(call, {}, async (scheduler, _scope, finite) => {
          const schedule = { numInferenceSteps: call.numInferenceSteps, timesteps: undefined, sigmas: undefined };
          const timesteps = setPartialSchedule(scheduler, schedule, call.strength);
          using own = new Scope();
          const clean = own.add(await this.#imageLatents(call));
          await finite.imageLatents(clean);
          const { generator } = call;
          const ofRows = Array.isArray(generator) ? generator.slice(0, clean.shape[0]) : generator;
          const noise = own.add(await unitNoise(clean.shape, { ...call, generator: ofRows }));
          const noisy = own.add(await scheduler.addNoise(clean, noise, timesteps.slice(0, 1)));
          return { timesteps, latents: await noisy.repeat([call.count / noisy.shape[0]!, 1, 1, 1]) };
        }),
    );
  }

  #check(options: KandinskyV22ImageToImageOptions<OutputType>, device: string): Call {
    requireGiven("image", options.image);
    const strength = checkFraction("strength", options.strength ?? 0.3);
    const call = this.checkDecoder(options, device);
    const images = checkImages(options.image, { latentChannels: 0 });
    checkPairing("images", images.count, call);
    return { ...call, image: options.image, strength };
  }

  /** [B·n,C,h,w]; [1,C,h,w] where the noise is shared. */
  async #imageLatents({ image, size, movq, device, dtype, allowNonFinite, signal, ...call }: Call): Promise<Tensor> {
    using scope = new Scope();
    const prepared = await prepareImage(image, {
      factor: movq.scaleFactor,
      latentChannels: 0,
      size: { height: size.width, width: size.height },
      ...{ filter: "bicubic", reducing: true, allowNonFinite },
      ...(signal && { signal }),
    });
    if (!("pixels" in prepared)) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "image must be pixels");
    const pixels = scope.add(prepared.pixels);
    const placed = scope.add(await pixels.to({ device: movq.device, dtype: movq.dtype }));
    const latents = scope.add(await movq.encode(placed, { ...(signal && { signal }) }));
    const ofUNet = scope.add(await latents.to({ device, dtype }));
    const shared = this.sharesNoise && ofUNet.shape[0] === 1 && call.numImagesPerPrompt === 1;
    return shared ? await ofUNet.clone() : await expandRows(ofUNet, call);
  }
}
