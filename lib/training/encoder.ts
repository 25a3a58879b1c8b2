import type { LoadedBatch } from "../data/loader.js";
import { native } from "../native/native.js";
import { encodePrompts } from "../pipelines/prompt.js";
import { Scope } from "../scope.js";
import { Tensor } from "../tensor.js";
import type { BaseModel } from "./base_model.js";
import type { EncodedBatch } from "./micro_batch.js";

/** Makes latents and text embeddings of loaded pairs. */
export class BatchEncoder {
  readonly #base: BaseModel;
  readonly #resolution: number;

  constructor(base: BaseModel, resolution: number) {
    this.#base = base;
    this.#resolution = resolution;
  }

  /**
   * Runs the frozen models.
   *
   * @param flips one flag for each row
   */
  async encode(batch: LoadedBatch, flips: readonly boolean[], signal?: AbortSignal): Promise<EncodedBatch> {
    using scope = new Scope();
    const { vae } = this.#base;
    const editedPixels = scope.add(await this.#pixels(batch.edited, flips));
    const originalPixels = scope.add(await this.#pixels(batch.originals, flips));
    const edited = await vae.encode(editedPixels, { signal });
    const original = scope.add(await vae.encode(originalPixels, { signal }));
    return {
      edited: { mean: edited.mean, logvar: edited.logvar },
      original: await original.mean.clone(),
      text: await encodePrompts(batch.prompts, this.#base, signal),
    };
  }

  /** The embedding of the empty instruction, [1,T,D]: what takes the place of dropped text. */
  nullText(signal?: AbortSignal): Promise<Tensor> {
    return encodePrompts([""], this.#base, signal);
  }

  /** Bytes [B,R,R,3] to float32 [B,3,R,R] in -1..1, brought to the device by the model that takes them. */
  async #pixels(bytes: Uint8Array, flips: readonly boolean[]): Promise<Tensor> {
    const R = this.#resolution;
    return new Tensor(await native().picturesToTensor(bytes, flips.length, R, R, flips.map(Number)));
  }
}

export function disposeEncoded({ edited, original, text }: EncodedBatch): void {
  for (const tensor of [edited.mean, edited.logvar, original, text]) tensor.dispose();
}
