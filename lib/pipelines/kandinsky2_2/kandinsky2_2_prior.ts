import { InstructPix2PixError } from "../../core/errors.js";
import { checkOptions, optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { ImageSource } from "../../images/index.js";
import { checkSampling } from "../call.js";
import { initialLatents } from "../latents.js";
import { checkFinite, refuseArgument } from "../options.js";
import { kandinskyPrior } from "./components.js";
import {
  KandinskyV22PriorBase,
  PRIOR_OPTIONS,
  type PriorCall,
  type PriorOptions,
  type PriorResult,
} from "./prior-base.js";

/** Options of `KandinskyV22PriorPipeline.run`. */
export interface KandinskyV22PriorOptions extends PriorOptions {
  /** Initial noise instead of a random draw: [B·n,E], with a negative prompt [2·B·n,E]. */
  latents?: Tensor | undefined;
}

const OPTIONS = optionNames<KandinskyV22PriorOptions>()({ ...PRIOR_OPTIONS, latents: true });

/** Options of `KandinskyV22PriorPipeline.interpolate`. */
export interface InterpolateOptions extends Omit<KandinskyV22PriorOptions, "prompt" | "negativePrompt"> {
  /** Texts, images, or the image encoder's input [B,3,H,W]: what to mix. A string is a text: give images otherwise. */
  imagesAndPrompts: readonly (string | Exclude<ImageSource, string> | Tensor)[];
  /** The weight of each. */
  weights: readonly number[];
  /** What the texts are guided away from. Default none. */
  negativePriorPrompt?: string | null | undefined;
  /** Whose embedding becomes the second result. Default "": what the image encoder makes of zeros. */
  negativePrompt?: string | undefined;
}

const { prompt: _prompt, ...WITHOUT_PROMPT } = OPTIONS;

const INTERPOLATE_OPTIONS = optionNames<InterpolateOptions>()({
  ...WITHOUT_PROMPT,
  imagesAndPrompts: true,
  weights: true,
  negativePriorPrompt: true,
});

/**
 * Predicts image embeddings from text, for Kandinsky 2.2's decoders (Ramesh et al. 2022, https://arxiv.org/abs/2204.06125;
 * Razzhigaev et al. 2023, https://arxiv.org/abs/2310.03502); numerically equal to diffusers' class of this name.
 *
 * @example
 * ```js
 * import { KandinskyV22PriorPipeline } from "instruct-pix2pix";
 *
 * const prior = await KandinskyV22PriorPipeline.fromPretrained("./prior");
 * const { imageEmbeds, negativeImageEmbeds } = await prior.run({ prompt: "a lighthouse", numInferenceSteps: 10 });
 * console.log(imageEmbeds.shape, negativeImageEmbeds.shape);
 * prior.dispose();
 * ```
 */
export class KandinskyV22PriorPipeline extends KandinskyV22PriorBase {
  /** @internal */
  static readonly description = kandinskyPrior("KandinskyV22PriorPipeline");
  protected readonly runOptions = OPTIONS;

  /**
   * Predicts image embeddings.
   *
   * @returns embeddings in the prior's type; the caller owns them
   * @throws as `InstructPix2PixPipeline.run`
   */
  async run(options: KandinskyV22PriorOptions): Promise<PriorResult> {
    return await this.running(
      options,
      () => this.checkPrior(options),
      (call) => this.#predict(call),
    );
  }

  /**
   * Mixes the embeddings of texts and images.
   *
   * @returns embeddings [n,E] in the prior's type; the caller owns them
   * @throws as {@link run}
   */
  async interpolate(options: InterpolateOptions): Promise<PriorResult> {
    const {
      imagesAndPrompts,
      weights,
      negativePriorPrompt,
      negativePrompt = "",
      ...others
    } = checkOptions(options, INTERPOLATE_OPTIONS);
    if (!Array.isArray(imagesAndPrompts) || imagesAndPrompts.length === 0)
      refuseArgument("imagesAndPrompts", imagesAndPrompts, "a list of texts and images");
    if (!Array.isArray(weights) || weights.length !== imagesAndPrompts.length)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `weights must be ${imagesAndPrompts.length} numbers, one for each of imagesAndPrompts`,
      );
    for (const weight of weights) checkFinite("weights", weight);
    if (typeof negativePrompt !== "string") refuseArgument("negativePrompt", negativePrompt, "a string");
    // One source of noise for all texts, in their order.
    const embedsPerPrompt = typeof negativePriorPrompt === "string" ? 2 : 1;
    const { generator, seed, numImagesPerPrompt } = checkSampling(others, embedsPerPrompt);
    const shared = { ...others, generator, seed: undefined };
    const predict = (prompt: string) => this.run({ ...shared, prompt, negativePrompt: negativePriorPrompt });
    using scope = new Scope();
    const parts: [number, Tensor][] = [];
    for (const [i, item] of imagesAndPrompts.entries()) {
      const embeds = typeof item === "string" ? kept(scope, await predict(item), "imageEmbeds") : undefined;
      const one =
        embeds ?? (await this.#ofImage(item as ImageSource | Tensor, numImagesPerPrompt, scope, options.signal));
      parts.push([weights[i]!, one]);
    }
    const rows = new Set(parts.map(([, tensor]) => tensor.shape.join()));
    if (rows.size > 1)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "imagesAndPrompts holds batches of different sizes");
    const imageEmbeds = await Tensor.linearCombination(parts);
    const away = kept(
      scope,
      await predict(negativePrompt),
      negativePrompt === "" ? "negativeImageEmbeds" : "imageEmbeds",
    );
    return { imageEmbeds, negativeImageEmbeds: await away.clone(), ...(seed !== undefined && { seed }) };
  }

  async #predict(call: PriorCall): Promise<PriorResult> {
    const { latents: given, prior, count, generator } = call;
    return await this.predictEmbeddings(call, { latents: given }, async (scheduler) => {
      scheduler.setTimesteps(call.numInferenceSteps);
      const placement = { device: prior.device, dtype: prior.dtype };
      const shape = [count, prior.config.embedding_dim];
      const latents = await initialLatents(shape, scheduler, { ...placement, generator, given });
      return { timesteps: scheduler.timesteps, latents };
    });
  }

  /** [n·B,E] */
  async #ofImage(
    image: ImageSource | Tensor,
    times: number,
    scope: Scope,
    signal: AbortSignal | undefined,
  ): Promise<Tensor> {
    const pixels = image instanceof Tensor ? image : scope.add(await this.preprocess([image], signal));
    const embeds = scope.add(await this.encodePixels(pixels, signal));
    return scope.add(await embeds.repeat([times, 1]));
  }
}

/** One of a result's tensors; both are freed with the scope. */
function kept(scope: Scope, result: PriorResult, name: "imageEmbeds" | "negativeImageEmbeds"): Tensor {
  scope.add(result.imageEmbeds);
  scope.add(result.negativeImageEmbeds);
  return result[name];
}
