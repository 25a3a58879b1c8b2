import { InstructPix2PixError } from "../core/errors.js";

/** The first of a seed's random streams that is not used for its examples. */
export const OTHER_STREAMS = 2 ** 52;

/** Rounds after which every bit of the seed has reached every bit of the state. */
const WARM_UP = 20;

/**
 * A small seeded generator: sfc32 of Chris Doty-Humphrey's PractRand, whose state begins with the seed and the stream.
 * The same two integers give the same numbers on every machine; other integers give independent numbers.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /**
   * @param seed a whole number in 0..2⁵³−1
   * @param stream which of the seed's sequences, a whole number in 0..2⁵³−1; default 0
   * @throws `ERR_INVALID_ARGUMENT` for other numbers
   */
  constructor(seed: number, stream = 0) {
    for (const [name, value] of Object.entries({ seed, stream }))
      if (!Number.isSafeInteger(value) || value < 0)
        throw new InstructPix2PixError(
          "ERR_INVALID_ARGUMENT",
          `${name} must be a whole number in 0..2^53-1, not ${value}`,
        );
    const high = (value: number) => Math.floor(value / 2 ** 32);
    this.#a = seed | 0;
    this.#b = stream | 0;
    // Both upper parts have at most 21 bits; the odd factor keeps them apart.
    this.#c = high(seed) ^ Math.imul(high(stream), 0x9e3779b1);
    for (let i = 0; i < WARM_UP; i++) this.#next();
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** A number in 0..1, without 1. */
  float(): number {
    return this.#next() / 2 ** 32;
  }

  /** A whole number in 0..n−1. */
  int(n: number): number {
    return Math.floor(this.float() * n);
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** A random element of a non-empty list. */
  pick<T>(list: readonly T[]): T {
    return list[this.int(list.length)]!;
  }

  /** The list, shuffled. */
  shuffle<T>(list: readonly T[]): T[] {
    const shuffled = [...list];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
    }
    return shuffled;
  }
}
