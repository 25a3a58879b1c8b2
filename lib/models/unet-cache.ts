import type { NativeUNetCache } from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";

/**
 * Results that a UNet reuses between calls of `UNet2DConditionModel.forward`: those that depend only on the text (keys
 * and values of cross-attention) or only on the timesteps and, on request, deep features. Belongs to the first model it
 * is used with, whose weights must not change meanwhile; another model throws `ERR_INVALID_ARGUMENT`. Changed
 * embeddings and timesteps are detected and computed.
 */
export class UNetCache implements Disposable {
  readonly #handle: NativeUNetCache;

  /** @param timesteps those of the coming calls: their embeddings are computed together, at the first call. Default none. */
  constructor(timesteps: readonly number[] = []) {
    this.#handle = new (native().UNetCache)(timesteps);
  }

  /** @internal The addon's handle. */
  get handle(): NativeUNetCache {
    return this.#handle;
  }

  /** Frees the cached results; running calls finish with them, later ones cache nothing. */
  dispose(): void {
    this.#handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
