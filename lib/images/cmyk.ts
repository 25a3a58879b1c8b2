import { inSlices } from "./pixels.js";

/** a · b / 255 for bytes, rounded as Pillow rounds it. */
function multiply(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/**
 * Converts interleaved CMYK (0 is no ink) to RGB without colour management, as Pillow's `convert("RGB")` does:
 * each channel is what its ink leaves of what black leaves. Of 16-bit samples the upper 8 bits count.
 */
export async function cmykToRgb(cmyk: Uint8Array | Uint16Array): Promise<Uint8Array> {
  const shift = (cmyk.BYTES_PER_ELEMENT - 1) * 8;
  const count = Math.floor(cmyk.length / 4);
  const rgb = new Uint8Array(count * 3);
  await inSlices(count, (from, to) => {
    for (let i = from; i < to; i++) {
      const light = 255 - (cmyk[i * 4 + 3]! >> shift);
      for (let c = 0; c < 3; c++) rgb[i * 3 + c] = light - multiply(cmyk[i * 4 + c]! >> shift, light);
    }
  });
  return rgb;
}
