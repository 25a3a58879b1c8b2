import type { NativeUNetCache } from "../native/contract.js";
import { native } from "../native/native.js";

/**
 * What a UNet keeps from one call of `UNet2DConditionModel.forward` to the next: what it computes of the text alone (the keys
 * and values of its cross-attention), or of the timesteps alone, and deep features where they are asked for. It belongs to the
 * first model it is given to, whose weights stay as they are meanwhile; another model refuses it with
 * `ERR_INVALID_ARGUMENT`. Other embeddings and timesteps are noticed and computed.
 */
export class UNetCache implements Disposable {
  readonly #handle: NativeUNetCache;

  /** @param timesteps those of the calls to come: their embeddings are computed in one product, at the first. Default none. */
  constructor(timesteps: readonly number[] = []) {
    this.#handle = new (native().UNetCache)(timesteps);
  }

  /** @internal The addon's handle. */
  get handle(): NativeUNetCache {
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
