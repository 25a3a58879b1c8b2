import { setImmediate as nextTurn } from "node:timers/promises";
import { InstructPix2PixError } from "../core/errors.js";

const MASK_64 = (1n << 64n) - 1n;
const MASK_128 = (1n << 128n) - 1n;
const POOL_SIZE = 4;
/** Swaps between two turns of the event loop, about 5 ms of work. */
const SLICE = 1 << 13;

/** One of the two running multipliers of NumPy's SeedSequence: whitens 32-bit words. */
class WordHash {
  #constant: number;
  readonly #multiplier: number;

  constructor(constant: number, multiplier: number) {
    this.#constant = constant;
    this.#multiplier = multiplier;
  }

  next(word: number): number {
    const mixed = word ^ this.#constant;
    this.#constant = Math.imul(this.#constant, this.#multiplier);
    const product = Math.imul(mixed, this.#constant);
    return (product ^ (product >>> 16)) >>> 0;
  }
}

function mix(x: number, y: number): number {
  const mixed = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y);
  return ((mixed >>> 0) ^ (mixed >>> 16)) >>> 0;
}

/** Spreads a seed of any size over 32-bit words, as NumPy's `SeedSequence(seed).generate_state` does. */
function seedWords(seed: bigint, count: number): number[] {
  const entropy: number[] = [];
  for (let rest = seed; rest > 0n || entropy.length === 0; rest >>= 32n) entropy.push(Number(rest & 0xffffffffn));

  const hash = new WordHash(0x43b0d7e5, 0x931e8875);
  const pool = Array.from({ length: POOL_SIZE }, (_, i) => hash.next(entropy[i] ?? 0));
  for (let from = 0; from < POOL_SIZE; from++)
    for (let to = 0; to < POOL_SIZE; to++) if (from !== to) pool[to] = mix(pool[to]!, hash.next(pool[from]!));
  for (const word of entropy.slice(POOL_SIZE))
    for (let to = 0; to < POOL_SIZE; to++) pool[to] = mix(pool[to]!, hash.next(word));

  const output = new WordHash(0x8b51f9dd, 0x58f38ded);
  return Array.from({ length: count }, (_, i) => output.next(pool[i % POOL_SIZE]!));
}

/**
 * NumPy's `default_rng(seed)`: PCG64, seeded through SeedSequence. Bit for bit the same numbers.
 *
 * Source: M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
 * Generation" (2014), variant XSL-RR 128/64.
 */
export class NumpyGenerator {
  #state = 0n;
  readonly #increment: bigint;
  /** The unused upper half of the last 64-bit number. */
  #spare: number | undefined;

  /**
   * @param seed a non-negative integer of any size
   * @throws `ERR_INVALID_ARGUMENT` for another seed
   */
  constructor(seed: number | bigint) {
    if ((typeof seed === "number" && !Number.isSafeInteger(seed)) || seed < 0)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `NumPy takes whole numbers from 0 on as seeds, not ${seed}`,
      );
    const words = seedWords(BigInt(seed), 8).map(BigInt);
    const [stateHigh, stateLow, streamHigh, streamLow] = [0, 2, 4, 6].map((i) => words[i]! | (words[i + 1]! << 32n));
    this.#increment = ((((streamHigh! << 64n) | streamLow!) << 1n) | 1n) & MASK_128;
    this.#advance();
    this.#state = (this.#state + ((stateHigh! << 64n) | stateLow!)) & MASK_128;
    this.#advance();
  }

  #advance(): void {
    this.#state = (this.#state * 0x2360ed051fc65da44385df649fccf645n + this.#increment) & MASK_128;
  }

  /** The next 64 random bits. */
  nextUint64(): bigint {
    this.#advance();
    const folded = (this.#state >> 64n) ^ (this.#state & MASK_64);
    const turn = this.#state >> 122n;
    return ((folded >> turn) | (folded << (64n - turn))) & MASK_64;
  }

  /** The next 32 random bits: of every 64, first the lower half. */
  nextUint32(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return spare;
    }
    const bits = this.nextUint64();
    this.#spare = Number(bits >> 32n);
    return Number(bits & 0xffffffffn);
  }

  /** A number from 0 to `most`, both included, each as likely, for `most` below 2³²: draws until one fits. */
  nextUpTo(most: number): number {
    if (most === 0) return 0;
    const shift = Math.clz32(most);
    for (;;) {
      const drawn = ((this.nextUint32() << shift) >>> 0) >>> shift;
      if (drawn <= most) return drawn;
    }
  }

  /**
   * `generator.permutation(length)`: the numbers from 0 to `length − 1`, shuffled.
   *
   * @throws `ERR_INVALID_ARGUMENT` unless the length is a whole number below 2³²
   */
  async permutation(length: number): Promise<Uint32Array> {
    if (!Number.isInteger(length) || length < 0 || length >= 2 ** 32)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `cannot shuffle ${length} rows`);
    const order = Uint32Array.from({ length }, (_, i) => i);
    for (let i = length - 1; i > 0; i--) {
      if (i % SLICE === 0) await nextTurn();
      const j = this.nextUpTo(i);
      const swapped = order[i]!;
      order[i] = order[j]!;
      order[j] = swapped;
    }
    return order;
  }
}
