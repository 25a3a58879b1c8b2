import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { ImageSource } from "../../images/index.js";
import { type PipelineImage, partsOf } from "../image-input.js";
import { checkPairing, unitNoise } from "../latents.js";
import { checkFraction, requireGiven } from "../options.js";
import { setPartialSchedule } from "../schedule.js";
import { kandinskyPrior } from "./components.js";
import {
  KandinskyV22PriorBase,
  PRIOR_OPTIONS,
  type PriorCall,
  type PriorOptions,
  type PriorResult,
} from "./prior-base.js";

/** Options of `KandinskyV22PriorEmb2EmbPipeline.run`. */
export interface KandinskyV22PriorEmb2EmbOptions extends PriorOptions {
  /** The image to start from, or several; or tensors: the image encoder's input [B,3,H,W], or its embeddings [B,E]. */
  image: PipelineImage;
  /** How far the result may be from the image, 0..1: the part of the steps that is taken. Default 0.3. */
  strength?: number | undefined;
}

const OPTIONS = optionNames<KandinskyV22PriorEmb2EmbOptions>()({ ...PRIOR_OPTIONS, image: true, strength: true });

type Call = PriorCall & { image: readonly (ImageSource | Tensor)[]; strength: number };

/**
 * Predicts image embeddings from text and an image, whose embedding is noised and denoised; numerically equal to diffusers'
 * class of this name.
 *
 * @example
 * ```js
 * import { KandinskyV22PriorEmb2EmbPipeline } from "instruct-pix2pix";
 *
 * const prior = await KandinskyV22PriorEmb2EmbPipeline.fromPretrained("./prior");
 * const { imageEmbeds } = await prior.run({ prompt: "in winter", image: "photo.jpg", strength: 0.4, numInferenceSteps: 10 });
 * console.log(imageEmbeds.shape);
 * prior.dispose();
 * ```
 */
export class KandinskyV22PriorEmb2EmbPipeline extends KandinskyV22PriorBase {
  /** @internal */
  static readonly description = kandinskyPrior("KandinskyV22PriorEmb2EmbPipeline");
  protected readonly runOptions = OPTIONS;

  /**
   * Predicts image embeddings.
   *
   * @returns embeddings in the prior's type; the caller owns them
   * @throws as `InstructPix2PixPipeline.run`
   */
  async run(options: KandinskyV22PriorEmb2EmbOptions): Promise<PriorResult> {
    return await this.running(
      options,
      () => this.#check(options),
      async (call) => {
        using scope = new Scope();
        const clean = scope.add(await this.#embeddings(call));
        return await this.predictEmbeddings(call, {}, async (scheduler) => {
          const schedule = { numInferenceSteps: call.numInferenceSteps, timesteps: undefined, sigmas: undefined };
          const timesteps = setPartialSchedule(scheduler, schedule, call.strength);
          const { device, dtype } = call.prior;
          using noise = await unitNoise(clean.shape, { device, dtype, generator: call.generator });
          return { timesteps, latents: await scheduler.addNoise(clean, noise, timesteps.slice(0, 1)) };
        });
      },
    );
  }

  #check(options: KandinskyV22PriorEmb2EmbOptions): Call {
    requireGiven("image", options.image);
    const image = partsOf("image", options.image);
    const strength = checkFraction("strength", options.strength ?? 0.3);
    const call = this.checkPrior(options);
    const tensors = image.filter((part) => part instanceof Tensor);
    if (tensors.length > 0 && tensors.length < image.length)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "image holds tensors and other images");
    const shapes = new Set(tensors.map(({ shape }) => shape.slice(1).join()));
    if (shapes.size > 1 || tensors.some(({ shape }) => shape.length !== 2 && shape.length !== 4))
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        "image must be tensors of one shape: [B,3,H,W], or embeddings [B,E]",
      );
    const count = tensors.length > 0 ? tensors.reduce((sum, { shape }) => sum + shape[0]!, 0) : image.length;
    checkPairing("images", count, { ...call, batch: call.texts.length });
    return { ...call, image, strength };
  }

  /** The images' embeddings, a row for each that is predicted: [count,E]. */
  async #embeddings(call: Call): Promise<Tensor> {
    const { image, numImagesPerPrompt, count, prior, signal } = call;
    using scope = new Scope();
    const given = image.some((part) => part instanceof Tensor)
      ? scope.add(await Tensor.cat(image as Tensor[], 0))
      : scope.add(await this.preprocess(image as ImageSource[], signal));
    const embeds = given.shape.length === 2 ? given : scope.add(await this.encodePixels(given, signal));
    const placed = scope.add(await embeds.to({ device: prior.device, dtype: prior.dtype }));
    const repeated = scope.add(await placed.repeatInterleave(numImagesPerPrompt, 0));
    return await repeated.repeat([count / repeated.shape[0]!, 1]);
  }
}
