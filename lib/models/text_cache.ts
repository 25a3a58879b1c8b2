import type { NativeTextCache } from "../native/contract.js";
import { native } from "../native/native.js";

/**
 * What a UNet computes of the text alone (the keys and values of its cross-attention), kept from one call of
 * `UNet2DConditionModel.forward` to the next. For one model, whose weights stay as they are meanwhile; other embeddings are
 * noticed and computed.
 */
export class TextCache implements Disposable {
  readonly #handle: NativeTextCache = new (native().TextCache)();

  /** @internal The addon's handle. */
  get handle(): NativeTextCache {
    return this.#handle;
  }

  /** Frees what is kept; calls that are under way finish with it, later ones keep nothing. */
  dispose(): void {
    this.#handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
