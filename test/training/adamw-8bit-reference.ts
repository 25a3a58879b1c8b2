/**
 * Adam with decoupled weight decay and 8-bit moments, written down from the paper (Dettmers et al. 2022, "8-bit
 * Optimizers via Block-wise Quantization", https://arxiv.org/abs/2110.02861) without regard to speed: every moment is
 * kept as the code of a dynamic 8-bit data type and one scale, the largest magnitude, for each block of 256. Parameters
 * of fewer than 4096 elements keep float32 moments.
 */
export const BLOCK = 256;
const MIN_QUANTIZED = 4096;

/**
 * The values of dynamic quantisation: a zero, a one, and for each decimal exponent from −6 to 0 the midpoints of a
 * linear division of 0.1 … 1 into fractions, twice as many with every exponent.
 */
export function dynamicMap(signed: boolean): Float32Array {
  const values = [0, 1];
  for (let exponent = 0; exponent < 7; exponent++) {
    const fractions = 2 ** (exponent + (signed ? 0 : 1));
    for (let i = 0; i < fractions; i++) {
      const value = (0.1 + (0.9 * (i + 0.5)) / fractions) * 10 ** (exponent - 6);
      values.push(value);
      if (signed) values.push(-value);
    }
  }
  return Float32Array.from(values).sort();
}

/** The code whose value is nearest. */
export function nearestCode(map: Float32Array, x: number): number {
  let [low, high] = [0, map.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (map[middle]! <= x) low = middle;
    else high = middle;
  }
  return x - map[low]! < map[high]! - x ? low : high;
}

interface Moment {
  codes: Uint8Array;
  scales: Float32Array;
  /** Where nothing is quantised. */
  plain: Float64Array;
}

interface Parameter {
  weights: Float32Array;
  /** Blocks of moments; 0 where they are in 32 bits. */
  blocks: number;
  first: Moment;
  second: Moment;
}

export interface AdamW8bitOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
}

export class AdamW8bit {
  readonly parameters = new Map<string, Parameter>();
  readonly quantized = new Set<string>();
  readonly #options: AdamW8bitOptions;
  readonly #signed = dynamicMap(true);
  readonly #unsigned = dynamicMap(false);
  #count = 0;

  constructor({ beta1, beta2, ...options }: AdamW8bitOptions) {
    // 1 − β of the float32 next to 0.999 differs in the fifth digit, and bitsandbytes computes with that.
    this.#options = { ...options, beta1: Math.fround(beta1), beta2: Math.fround(beta2) };
  }

  add(name: string, weights: Float32Array): void {
    const blocks = weights.length < MIN_QUANTIZED ? 0 : Math.ceil(weights.length / BLOCK);
    if (blocks > 0) this.quantized.add(name);
    const moment = (): Moment => ({
      codes: new Uint8Array(weights.length),
      scales: new Float32Array(blocks),
      plain: new Float64Array(weights.length),
    });
    this.parameters.set(name, { weights: weights.slice(), blocks, first: moment(), second: moment() });
  }

  /** One step with gradients divided by `divisor`. */
  step(gradients: Record<string, Float32Array>, learningRate: number, divisor: number): void {
    const { beta1, beta2, epsilon, weightDecay } = this.#options;
    this.#count += 1;
    const firstCorrection = 1 - beta1 ** this.#count;
    const secondCorrection = 1 - beta2 ** this.#count;
    for (const [name, { weights, blocks, first, second }] of this.parameters) {
      if (blocks > 0) this.#dequantize(first, this.#signed);
      if (blocks > 0) this.#dequantize(second, this.#unsigned);
      for (const [i, given] of gradients[name]!.entries()) {
        const gradient = given / divisor;
        first.plain[i] = beta1 * first.plain[i]! + (1 - beta1) * gradient;
        second.plain[i] = beta2 * second.plain[i]! + (1 - beta2) * gradient ** 2;
        const update = first.plain[i]! / firstCorrection / (Math.sqrt(second.plain[i]! / secondCorrection) + epsilon);
        // bitsandbytes decays what the update has been applied to.
        weights[i] = (weights[i]! - learningRate * update) * (1 - learningRate * weightDecay);
      }
      if (blocks > 0) this.#quantize(first, this.#signed);
      if (blocks > 0) this.#quantize(second, this.#unsigned);
    }
  }

  #dequantize({ codes, scales, plain }: Moment, map: Float32Array): void {
    for (const [i, code] of codes.entries()) plain[i] = map[code]! * scales[Math.floor(i / BLOCK)]!;
  }

  #quantize({ codes, scales, plain }: Moment, map: Float32Array): void {
    for (const block of scales.keys()) {
      const values = plain.subarray(block * BLOCK, (block + 1) * BLOCK);
      const scale = values.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0);
      scales[block] = scale;
      for (const [i, x] of values.entries()) codes[block * BLOCK + i] = nearestCode(map, scale > 0 ? x / scale : 0);
    }
  }
}
