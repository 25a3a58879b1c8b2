import type { NativeUNetCache } from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";

/**
 * Results that a UNet reuses between calls of `UNet2DConditionModel.forward`: those that depend only on the text (keys
 * and values of cross-attention) or only on the timesteps and, on request, deep features. Belongs to the first model it
 * is used with, whose weights must not change meanwhile; another model throws `ERR_INVALID_ARGUMENT`. Changed
 * embeddings and timesteps are detected and computed.
 *
 * @example
 * ```js
 * import { Tensor, UNet2DConditionModel, UNetCache } from "instruct-pix2pix";
 *
 * const unet = await UNet2DConditionModel.fromPretrained("./model/unet");
 * const text = await Tensor.randn([1, 77, Number(unet.config.cross_attention_dim)]);
 * const timesteps = [900, 500, 100];
 * const cache = new UNetCache(timesteps);
 * for (const timestep of timesteps)
 *   await unet.forward(await Tensor.randn([1, unet.config.in_channels, 8, 8]), timestep, text, { cache });
 * cache.dispose();
 * unet.dispose();
 * ```
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
