/**
 * Philox4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"), written down from the paper.
 */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  const word = (x: bigint) => x & 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const a = c0 * 0xd2511f53n;
    const b = c2 * 0xcd9e8d57n;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, word(b), (a >> 32n) ^ c3 ^ k1, word(a)];
    [k0, k1] = [word(k0 + 0x9e3779b9n), word(k1 + 0xbb67ae85n)];
  }
  return [c0, c1, c2, c3].map(Number);
}

/** What a draw of stochastic rounding depends on. */
export interface Draw {
  seed: number;
  parameter: number;
  step: number;
}

/** The 16 random bits for an element of a parameter. */
export function randomBits({ seed, parameter, step }: Draw, element: number): number {
  const group = Math.floor(element / 64);
  const j = element % 64;
  const counter = group * 8 + (j % 8);
  const words = philox(
    [counter % 2 ** 32, Math.floor(counter / 2 ** 32), parameter, step],
    [seed % 2 ** 32, Math.floor(seed / 2 ** 32)],
  );
  const word = words[Math.floor(j / 8) % 4]!;
  return j < 32 ? word & 0xffff : word >>> 16;
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** A finite number rounded with these random bits. */
export function stochasticallyRounded(x: number, random: number): number {
  float[0] = x;
  const magnitude = bits[0]! & 0x7fffffff;
  bits[0] = (bits[0]! + (magnitude < 0x7f7f0000 ? random : 0)) & 0xffff0000;
  return float[0];
}

/** The two bfloat16 neighbours of a number, towards zero and away from it. */
export function neighbours(x: number): [number, number] {
  float[0] = x;
  bits[0] = bits[0]! & 0xffff0000;
  const inner = float[0];
  bits[0] = bits[0]! + 0x10000;
  return [inner, float[0]];
}
