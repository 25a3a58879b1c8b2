import { inSlices, type RgbPixels } from "./pixels.js";

/** The layout of a TIFF's YCbCr samples: for each block of pixels all Y in rows, then one Cb and one Cr. */
export interface YcbcrLayout {
  /** Width in pixels. */
  width: number;
  /** Height in pixels. */
  height: number;
  /** Width of a block in pixels. */
  across: number;
  /** Height of a block in pixels. */
  down: number;
  /** Weights of red, green and blue in Y. */
  luma: [red: number, green: number, blue: number];
  /** ReferenceBlackWhite: the sample values of black and white for Y, and of no and full colour for Cb and Cr. */
  reference: number[];
}

/** Converts 8-bit YCbCr samples to RGB as libtiff does: each block's colour serves all its pixels. */
export async function ycbcrToRgb(samples: Uint8Array, layout: YcbcrLayout): Promise<RgbPixels> {
  const { width, height, across, down, luma, reference } = layout;
  const [yBlack, yWhite, cbBlack, cbWhite, crBlack, crWhite] = reference as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [lumaRed, lumaGreen, lumaBlue] = luma;
  const unit = across * down + 2;
  const rowBytes = Math.ceil(width / across) * unit;
  const rgb = new Uint8ClampedArray(width * height * 3);
  await inSlices(width * height, (from, to) => {
    for (let i = from; i < to; i++) {
      const x = i % width;
      const y = (i - x) / width;
      const block = Math.floor(y / down) * rowBytes + Math.floor(x / across) * unit;
      const light = scaled(samples[block + (y % down) * across + (x % across)]!, yBlack, yWhite, 255);
      const cb = scaled(samples[block + unit - 2]!, cbBlack, cbWhite, 127);
      const cr = scaled(samples[block + unit - 1]!, crBlack, crWhite, 127);
      const red = light + cr * (2 - 2 * lumaRed);
      const blue = light + cb * (2 - 2 * lumaBlue);
      rgb[i * 3] = red;
      rgb[i * 3 + 1] = (light - lumaRed * red - lumaBlue * blue) / lumaGreen;
      rgb[i * 3 + 2] = blue;
    }
  });
  return { width, height, data: new Uint8Array(rgb.buffer) };
}

function scaled(sample: number, black: number, white: number, range: number): number {
  return ((sample - black) * range) / (white - black || 1);
}
