import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import { native } from "../../runtime/native.js";
import { checkTensors } from "../call.js";
import { checkImages, type PipelineImage, prepareImage } from "../image-input.js";
import { countMasks, readPictures } from "../inpainting/pictures.js";
import { checkLatents, checkPairing, expandRows, initialLatents } from "../latents.js";
import { prepareMask } from "../mask.js";
import { requireGiven } from "../options.js";
import type { ImagesResult, OutputType } from "../run-options.js";
import { kandinskyDecoder } from "./components.js";
import { type DecoderCall, KandinskyV22DecoderBase } from "./decoder-base.js";
import { DECODER_OPTIONS, type KandinskyV22DecoderOptions, latentSize } from "./options.js";

/**
 * Options of `KandinskyV22InpaintPipeline.run`.
 *
 * @typeParam T the kind of result
 */
export interface KandinskyV22InpaintOptions<T extends OutputType = "image"> extends KandinskyV22DecoderOptions<T> {
  /** The image to paint in, or several; resized to the size, whose edges must be multiples of the model's (64). */
  image: PipelineImage;
  /** White, or 1, where the image is painted anew; one or one for each image. Tensors are [H,W], [B,H,W] or [B,1,H,W]. */
  maskImage: PipelineImage;
  /** Initial noise instead of a random draw: [B·n,C,h,w], unit variance. */
  latents?: Tensor | undefined;
}

const OPTIONS = optionNames<KandinskyV22InpaintOptions<OutputType>>()({
  ...DECODER_OPTIONS,
  image: true,
  maskImage: true,
  latents: true,
});

type Call = DecoderCall & {
  image: PipelineImage;
  maskImage: PipelineImage;
  shape: readonly number[];
  given: Tensor | undefined;
};

/** What is kept of the images, a row for each result. */
interface Kept {
  /** [B·n,C,h,w] */
  latents: Tensor;
  /** [B·n,1,h,w], 1 where the image is kept. */
  mask: Tensor;
}

/**
 * Paints parts of images anew, by the embeddings that a prior predicts; numerically equal to diffusers' class of this name,
 * but for several images: each keeps what is its own, where diffusers keeps the first one's in all.
 *
 * @example
 * ```js
 * import { KandinskyV22InpaintPipeline, KandinskyV22PriorPipeline } from "instruct-pix2pix";
 *
 * const prior = await KandinskyV22PriorPipeline.fromPretrained("./prior");
 * const embeds = await prior.run({ prompt: "a red door", numInferenceSteps: 10 });
 * prior.dispose();
 * const pipe = await KandinskyV22InpaintPipeline.fromPretrained("kandinsky-community/kandinsky-2-2-decoder-inpaint");
 * const { images } = await pipe.run({ ...embeds, image: "photo.jpg", maskImage: "mask.png", height: 64, width: 64 });
 * await images[0].save("door.png");
 * pipe.dispose();
 * ```
 */
export class KandinskyV22InpaintPipeline extends KandinskyV22DecoderBase {
  /** @internal */
  static readonly description = kandinskyDecoder("KandinskyV22InpaintPipeline", { inpaints: true });
  protected readonly runOptions = OPTIONS;

  /**
   * Makes images.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: KandinskyV22InpaintOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: KandinskyV22InpaintOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: KandinskyV22InpaintOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options as object,
      (device) => this.#check(options, device),
      async (call) => {
        using scope = new Scope();
        const kept = await this.#kept(call, scope);
        return await this.decodeEmbeddings<T>(
          call,
          { latents: call.given },
          async (scheduler, own, finite) => {
            await finite.imageLatents(kept.latents);
            scheduler.setTimesteps(call.numInferenceSteps);
            const { timesteps } = scheduler;
            const latents = await initialLatents(call.shape, scheduler, call);
            const noise = own.add(await latents.clone());
            const masked = own.add(await kept.latents.mul(kept.mask));
            const channels = own.add(await Tensor.cat([masked, kept.mask], 1));
            const afterStep = async (stepped: Tensor, step: number) => {
              if (step + 1 >= timesteps.length) return await keepFrom(kept, kept.latents, stepped);
              using noised = await scheduler.addNoise(kept.latents, noise, [timesteps[step + 1]!]);
              return await keepFrom(kept, noised, stepped);
            };
            return { timesteps, latents, channels, afterStep };
          },
          (latents) => keepFrom(kept, kept.latents, latents),
        );
      },
    );
  }

  #check(options: KandinskyV22InpaintOptions<OutputType>, device: string): Call {
    requireGiven("image", options.image);
    requireGiven("maskImage", options.maskImage);
    const { image, maskImage, latents: given } = options;
    checkTensors({ latents: given });
    const call = this.checkDecoder(options, device);
    const factor = call.movq.scaleFactor ** 2;
    for (const [name, edge] of Object.entries(call.size))
      if (edge % factor !== 0)
        throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} must be a multiple of ${factor}, not ${edge}`);
    checkPairing("images", checkImages(image, { latentChannels: 0 }).count, call);
    checkPairing("masks", countMasks(maskImage), call);
    const { height, width } = latentSize(call.size, call.movq.scaleFactor);
    const shape = [call.count, call.movq.config.latent_channels, height, width];
    checkLatents(given, shape);
    return { ...call, image, maskImage, shape, given };
  }

  async #kept(call: Call, scope: Scope): Promise<Kept> {
    const { image, maskImage, size, movq, device, dtype, allowNonFinite, signal } = call;
    const pictures = await readPictures({ image, maskImage, size, paddingMaskCrop: undefined, signal });
    const common = { factor: movq.scaleFactor, size, allowNonFinite };
    const input = await prepareImage(pictures.image, {
      ...common,
      ...{ latentChannels: 0, filter: "bicubic", reducing: true },
      ...(signal && { signal }),
    });
    if (!("pixels" in input)) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "image must be pixels");
    const pixels = scope.add(input.pixels);
    const placed = scope.add(await pixels.to({ device: movq.device, dtype: movq.dtype }));
    const encoded = scope.add(await movq.encode(placed, { ...(signal && { signal }) }));
    const ofUNet = scope.add(await encoded.to({ device, dtype }));
    const latents = scope.add(await expandRows(ofUNet, call));
    const painted = scope.add(await prepareMask(pictures.masks, common));
    const [, , height, width] = call.shape;
    const small = scope.add(new Tensor(await native().resizeNearest(painted.handle, height!, width!)));
    const eroded = scope.add(await keptMask(small));
    const mask = scope.add(await expandRows(scope.add(await eroded.to({ device, dtype })), call));
    return { latents, mask };
  }
}

/** Where an image is kept: its own latents, or noisy ones; elsewhere what is painted. */
async function keepFrom({ mask }: Kept, latents: Tensor, painted: Tensor): Promise<Tensor> {
  using scope = new Scope();
  const own = scope.add(await latents.mul(mask));
  const inverse = scope.add(await Tensor.linearCombination([[-1, mask]]));
  const others = scope.add(await inverse.add(1));
  return await own.add(scope.add(await painted.mul(others)));
}

/**
 * 1 where a mask [B,1,h,w] of 0 and 1 paints nothing, and where none of six neighbours is painted: those beside, above and
 * below, and those on one diagonal.
 */
async function keptMask(painted: Tensor): Promise<Tensor> {
  const values = (await painted.toArray()) as Float32Array;
  const [count, , height, width] = painted.shape as [number, number, number, number];
  const kept = new Float32Array(values.length).fill(1);
  const neighbours = [
    [0, 0],
    [-1, 0],
    [0, -1],
    [-1, -1],
    [1, 0],
    [0, 1],
    [1, 1],
  ] as const;
  for (let b = 0; b < count; b++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        if (values[(b * height + y) * width + x] === 0) continue;
        for (const [dy, dx] of neighbours) {
          const [row, column] = [y + dy, x + dx];
          const inside = row >= 0 && row < height && column >= 0 && column < width;
          if (inside) kept[(b * height + row) * width + column] = 0;
        }
      }
  return Tensor.from(kept, painted.shape);
}
