import { randomInt } from "node:crypto";
import type { NativeGenerator } from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";
import { describe } from "./arguments.js";
import { InstructPix2PixError } from "./errors.js";
import { ofThisRealm } from "./realm.js";

const MAX_SEED = 2n ** 64n - 1n;

/**
 * A random number generator of libtorch for a device: a seed gives the same numbers as in Python's torch.
 *
 * Draws happen on the device's worker thread in the order of the calls. Runs that share a generator interleave their
 * draws; use one generator per run for reproducible results.
 *
 * @example
 * ```js
 * import { Generator, Tensor } from "instruct-pix2pix";
 *
 * const generator = new Generator("cpu", 42);
 * const noise = await Tensor.randn([1, 4, 8, 8], { generator });
 * console.log(String(noise));
 * ```
 */
export class Generator {
  readonly #handle: NativeGenerator;

  /**
   * @param device "cpu" (default; the same numbers on every machine), "cuda" or "cuda:N"
   * @param seed an integer in 0..2⁶⁴−1; drawn at random if left out
   * @throws `ERR_INVALID_ARGUMENT` for another seed, `ERR_CUDA_UNAVAILABLE`
   */
  constructor(device = "cpu", seed: number | bigint = randomSeed()) {
    if (typeof seed === "number" ? !Number.isSafeInteger(seed) : typeof seed !== "bigint")
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `a seed must be an integer, not ${describe(seed)}`);
    const value = BigInt(seed);
    if (value < 0n || value > MAX_SEED)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `a seed must lie in 0..2^64-1, not ${seed}`);
    this.#handle = new (native().NativeGenerator)(device, value);
  }

  /** @internal The addon's handle. */
  get handle(): NativeGenerator {
    return this.#handle;
  }

  get device(): string {
    return this.#handle.device;
  }

  /** The seed this generator was made with. */
  get seed(): bigint {
    return native().generatorSeed(this.#handle);
  }

  /** One integer from 0..2⁶³−1: the number that `torch.empty((), dtype=torch.int64).random_()` draws. */
  async randomInt64(): Promise<bigint> {
    return native().randomInt64(this.#handle);
  }

  /** The whole state as bytes for {@link Generator.setState}; the same bytes as torch's `get_state()`. */
  async getState(): Promise<Uint8Array> {
    return ofThisRealm(await native().generatorState(this.#handle));
  }

  /** Continues from a saved state. */
  async setState(state: Uint8Array): Promise<void> {
    return native().setGeneratorState(this.#handle, state);
  }
}

/** A random default seed, small enough to retype. */
export function randomSeed(): number {
  return randomInt(2 ** 32);
}
