import { encodePrompts, tokenizePrompts } from "../../../conditioning/prompt.js";
import { Scope } from "../../../core/scope.js";
import { Tensor } from "../../../core/tensor.js";
import type { LoadedBatch } from "../../../data/loader.js";
import { native } from "../../../runtime/native.js";
import type { BaseModel } from "./base-model.js";
import type { EncodedBatch } from "./micro-batch.js";

/** Pixels encoded at once: eight pictures of 256×256. */
const PIXELS_TOGETHER = 8 * 256 * 256;

export interface EncoderOptions {
  resolution: number;
  /** Encodes edited and original pictures separately, as the reference does, since rounding depends on it. */
  separately: boolean;
  /** Returns instructions as token ids, for a text encoder that is trained. */
  trainTextEncoder: boolean;
}

/** Encodes loaded pairs to latents and prompt embeddings. */
export class BatchEncoder {
  readonly #base: BaseModel;
  readonly #options: EncoderOptions;

  constructor(base: BaseModel, options: EncoderOptions) {
    this.#base = base;
    this.#options = options;
  }

  /**
   * Runs the frozen models.
   *
   * @param flips one flag for each row
   */
  async encode(batch: LoadedBatch, flips: readonly boolean[], signal?: AbortSignal): Promise<EncodedBatch> {
    using scope = new Scope();
    const edited = scope.add(await this.#pixels(batch.edited, flips));
    const original = scope.add(await this.#pixels(batch.originals, flips));
    return { ...(await this.#latents(edited, original, signal)), text: await this.#text(batch.prompts, signal) };
  }

  /** Both pictures in one pass of the autoencoder, unless they are too large. */
  async #latents(
    editedPixels: Tensor,
    originalPixels: Tensor,
    signal: AbortSignal | undefined,
  ): Promise<Omit<EncodedBatch, "text">> {
    using scope = new Scope();
    const { vae } = this.#base;
    const [B, , H, W] = editedPixels.shape as [number, number, number, number];
    // The latents of a single picture have another memory layout, which affects noise drawn "like" them.
    if (this.#options.separately || B === 1 || 2 * B * H * W > PIXELS_TOGETHER) {
      const edited = await vae.encodeAnySize(editedPixels, { signal });
      const original = scope.add(await vae.encodeAnySize(originalPixels, { signal }));
      return { edited: { mean: edited.mean, logvar: edited.logvar }, original: await original.mean.clone() };
    }
    const pixels = scope.add(await Tensor.cat([editedPixels, originalPixels], 0));
    const { mean, logvar } = scope.add(await vae.encodeAnySize(pixels, { signal }));
    return {
      edited: { mean: await mean.slice(0, 0, B), logvar: await logvar.slice(0, 0, B) },
      original: await scope.add(await mean.slice(0, B, 2 * B)).clone(),
    };
  }

  /** Embedding [1,T,D] or token ids [1,T] of the empty instruction, which replaces dropped text. */
  nullText(signal?: AbortSignal): Promise<Tensor> {
    return this.#text([""], signal);
  }

  async #text(prompts: readonly string[], signal: AbortSignal | undefined): Promise<Tensor> {
    return this.#options.trainTextEncoder
      ? tokenizePrompts(prompts, this.#base)
      : await encodePrompts(prompts, this.#base, { signal });
  }

  /** Bytes [B,R,R,3] to float32 [B,3,R,R] in -1..1, moved to the device by the model. */
  async #pixels(bytes: Uint8Array, flips: readonly boolean[]): Promise<Tensor> {
    const R = this.#options.resolution;
    return new Tensor(await native().picturesToTensor(bytes, flips.length, R, R, flips.map(Number)));
  }
}

export function disposeEncoded({ edited, original, text }: EncodedBatch): void {
  for (const tensor of [edited.mean, edited.logvar, original, text]) tensor.dispose();
}
