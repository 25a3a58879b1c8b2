import type { Canvas } from "./canvas.js";
import type { Style } from "./vocabulary.js";

/** Width of a pixelated image in blocks. */
const BLOCKS = 16;

/** Applies a style to the whole image. */
export function applyStyle(canvas: Canvas, style: Style): void {
  if (style === "grey") makeGrey(canvas.data);
  else if (style === "inverted") invert(canvas.data);
  else if (style === "pixelated") pixelate(canvas);
  else if (style === "sepia") makeSepia(canvas);
}

function makeGrey(data: Uint8Array): void {
  for (let i = 0; i < data.length; i += 3)
    data.fill(Math.round(0.299 * data[i]! + 0.587 * data[i + 1]! + 0.114 * data[i + 2]!), i, i + 3);
}

function invert(data: Uint8Array): void {
  for (let i = 0; i < data.length; i++) data[i] = 255 - data[i]!;
}

const SEPIA = { dark: [52, 28, 10], light: [250, 226, 178] } as const;
/** Darkening of the corners. */
const VIGNETTE = 0.45;

/** An old photograph: from dark to light brown by brightness, and darker towards the corners. */
function makeSepia({ data, size }: Canvas): void {
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const i = (y * size + x) * 3;
      const light = (0.299 * data[i]! + 0.587 * data[i + 1]! + 0.114 * data[i + 2]!) / 255;
      const [dx, dy] = [(2 * x + 1) / size - 1, (2 * y + 1) / size - 1];
      const shade = 1 - (VIGNETTE * (dx * dx + dy * dy)) / 2;
      for (let c = 0; c < 3; c++)
        data[i + c] = Math.round(shade * (SEPIA.dark[c]! + light * (SEPIA.light[c]! - SEPIA.dark[c]!)));
    }
}

/** Replaces each block by its mean. */
function pixelate({ data, size }: Canvas): void {
  const edge = (block: number) => Math.round((block * size) / BLOCKS);
  for (let down = 0; down < BLOCKS; down++)
    for (let across = 0; across < BLOCKS; across++) {
      const [top, bottom, left, right] = [edge(down), edge(down + 1), edge(across), edge(across + 1)];
      const count = (bottom - top) * (right - left);
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let y = top; y < bottom; y++)
          for (let x = left; x < right; x++) sum += data[(y * size + x) * 3 + channel]!;
        for (let y = top; y < bottom; y++)
          for (let x = left; x < right; x++) data[(y * size + x) * 3 + channel] = Math.round(sum / count);
      }
    }
}
