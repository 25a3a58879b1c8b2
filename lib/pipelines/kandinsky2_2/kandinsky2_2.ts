import { optionNames } from "../../core/known-options.js";
import type { Tensor } from "../../core/tensor.js";
import { checkTensors } from "../call.js";
import { checkLatents, initialLatents } from "../latents.js";
import type { ImagesResult, OutputType } from "../run-options.js";
import { kandinskyDecoder } from "./components.js";
import { KandinskyV22DecoderBase } from "./decoder-base.js";
import { DECODER_OPTIONS, type KandinskyV22DecoderOptions, latentSize } from "./options.js";

/**
 * Options of `KandinskyV22Pipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface KandinskyV22Options<T extends OutputType = "image"> extends KandinskyV22DecoderOptions<T> {
  /** Initial noise instead of a random draw: [B·n,C,h,w], unit variance. */
  latents?: Tensor | undefined;
}

const OPTIONS = optionNames<KandinskyV22Options<OutputType>>()({ ...DECODER_OPTIONS, latents: true });

/**
 * Makes images from the embeddings that a prior predicts (Razzhigaev et al. 2023, "Kandinsky",
 * https://arxiv.org/abs/2310.03502); numerically equal to diffusers' class of this name.
 *
 * @example
 * ```js
 * import { KandinskyV22Pipeline, KandinskyV22PriorPipeline } from "instruct-pix2pix";
 *
 * const prior = await KandinskyV22PriorPipeline.fromPretrained("./prior");
 * const embeds = await prior.run({ prompt: "a lighthouse", numInferenceSteps: 10 });
 * prior.dispose();
 * const pipe = await KandinskyV22Pipeline.fromPretrained("./decoder");
 * const { images } = await pipe.run({ ...embeds, height: 64, width: 64, numInferenceSteps: 20 });
 * await images[0].save("lighthouse.png");
 * pipe.dispose();
 * ```
 */
export class KandinskyV22Pipeline extends KandinskyV22DecoderBase {
  /** @internal */
  static readonly description = kandinskyDecoder("KandinskyV22Pipeline");
  protected readonly runOptions = OPTIONS;

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: KandinskyV22Options): Promise<ImagesResult>;
  async run<T extends OutputType>(options: KandinskyV22Options<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: KandinskyV22Options<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options as object,
      (device) => {
        const { latents: given } = options;
        checkTensors({ latents: given });
        const call = this.checkDecoder(options, device);
        const { height, width } = latentSize(call.size, call.movq.scaleFactor);
        const shape = [call.count, call.unet.config.in_channels, height, width];
        checkLatents(given, shape);
        return { ...call, shape, given };
      },
      async (call) =>
        await this.decodeEmbeddings<T>(call, { latents: call.given }, async (scheduler) => {
          scheduler.setTimesteps(call.numInferenceSteps);
          const latents = await initialLatents(call.shape, scheduler, call);
          return { timesteps: scheduler.timesteps, latents };
        }),
    );
  }
}
