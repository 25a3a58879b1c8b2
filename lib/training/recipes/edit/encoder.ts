import { Scope } from "../../../core/scope.js";
import { Tensor } from "../../../core/tensor.js";
import type { LoadedBatch } from "../../../data/loader.js";
import type { ImageSize } from "../../../images/pixels.js";
import { native } from "../../../runtime/native.js";
import type { EncodedBatch } from "./micro-batch.js";
import type { EditModels } from "./models.js";

/** Pixels encoded at once: eight images of 256×256. */
const PIXELS_TOGETHER = 8 * 256 * 256;

export interface EncoderOptions {
  /** Encodes edited and original images separately, as the reference does, since rounding depends on it. */
  separately: boolean;
  /** Also returns the log variance of the original images' latents, for a script that samples them. Default false. */
  samplesOriginals?: boolean;
}

/** Encodes loaded pairs to latents and prompt embeddings. */
export class BatchEncoder {
  readonly #models: Pick<EditModels, "vae" | "encodeText">;
  readonly #options: EncoderOptions;

  constructor(models: Pick<EditModels, "vae" | "encodeText">, options: EncoderOptions) {
    this.#models = models;
    this.#options = options;
  }

  /**
   * Runs the frozen models.
   *
   * @param flips one flag for each row
   */
  async encode(batch: LoadedBatch, flips: readonly boolean[], signal?: AbortSignal): Promise<EncodedBatch> {
    using scope = new Scope();
    const edited = scope.add(await pixelsOf(batch.edited, batch.size, flips));
    const original = scope.add(await pixelsOf(batch.originals, batch.size, flips));
    return {
      ...(await this.#latents(edited, original, signal)),
      text: await this.#models.encodeText(batch.prompts, signal),
    };
  }

  /** Both images in one pass of the autoencoder, unless they are too large. */
  async #latents(
    editedPixels: Tensor,
    originalPixels: Tensor,
    signal: AbortSignal | undefined,
  ): Promise<Omit<EncodedBatch, "text">> {
    using scope = new Scope();
    const { separately, samplesOriginals = false } = this.#options;
    const vae = await this.#models.vae();
    const [B, , H, W] = editedPixels.shape as [number, number, number, number];
    // The latents of a single image have another memory layout, which affects noise drawn "like" them.
    if (separately || B === 1 || 2 * B * H * W > PIXELS_TOGETHER) {
      const edited = await vae.encodeAnySize(editedPixels, { signal });
      const original = scope.add(await vae.encodeAnySize(originalPixels, { signal }));
      return {
        edited: { mean: edited.mean, logvar: edited.logvar },
        original: {
          mean: await original.mean.clone(),
          ...(samplesOriginals && { logvar: await original.logvar.clone() }),
        },
      };
    }
    const pixels = scope.add(await Tensor.cat([editedPixels, originalPixels], 0));
    const { mean, logvar } = scope.add(await vae.encodeAnySize(pixels, { signal }));
    const originals = async (rows: Tensor) => await scope.add(await rows.slice(0, B, 2 * B)).clone();
    return {
      edited: { mean: await mean.slice(0, 0, B), logvar: await logvar.slice(0, 0, B) },
      original: { mean: await originals(mean), ...(samplesOriginals && { logvar: await originals(logvar) }) },
    };
  }
}

/** Bytes [B,H,W,3] to float32 [B,3,H,W] in -1..1, moved to the device by the model. */
async function pixelsOf(bytes: Uint8Array, { width, height }: ImageSize, flips: readonly boolean[]): Promise<Tensor> {
  return new Tensor(await native().picturesToTensor(bytes, flips.length, height, width, flips.map(Number)));
}
