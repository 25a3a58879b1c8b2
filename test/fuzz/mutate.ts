/** Numbers below a bound, the same for the same seed (mulberry32). */
export type Draw = (below: number) => number;

export function drawsFrom(seed: number): Draw {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Larger inputs only take longer. */
const MAX_LENGTH = 1 << 16;

/**
 * A seed input with pieces removed, changed, inserted, copied from other seeds, or repeated up to thousands of times:
 * repetition is what shows work that grows faster than the input.
 */
export function mutate(seeds: readonly Buffer[], tokens: readonly string[], draw: Draw): Buffer {
  let bytes = seeds[draw(seeds.length)]!;
  for (let edits = draw(5); edits >= 0; edits--) {
    const from = draw(bytes.length + 1);
    const to = Math.min(bytes.length, from + draw(draw(4) === 0 ? bytes.length + 1 : 16));
    bytes = Buffer.concat([bytes.subarray(0, from), replacement(bytes.subarray(from, to)), bytes.subarray(to)]);
    bytes = bytes.subarray(0, MAX_LENGTH);
  }
  return bytes;

  function replacement(piece: Buffer): Buffer {
    const kind = draw(6);
    if (kind === 0) return Buffer.alloc(0);
    if (kind === 1) return Buffer.from(piece.map((byte) => (draw(2) === 0 ? byte : draw(256))));
    if (kind === 2) return Buffer.concat([piece, Buffer.from(tokens[draw(tokens.length)]!)]);
    if (kind === 3) {
      const other = seeds[draw(seeds.length)]!;
      const at = draw(other.length + 1);
      return other.subarray(at, at + draw(64));
    }
    const repeated = kind === 4 && piece.length > 0 ? piece : Buffer.from(tokens[draw(tokens.length)]!);
    return Buffer.concat(new Array<Buffer>(1 + draw(draw(8) === 0 ? 5000 : 50)).fill(repeated), MAX_LENGTH);
  }
}
