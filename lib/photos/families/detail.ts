import { blurPhoto, blurPlane } from "../filters/blur.js";
import { oilPaint, slopes } from "../filters/paint.js";
import { clip, luma, lumaOf, mapPhoto, mapValues, mix, type Photo, ramp, unitOf } from "../pixels.js";
import { byDegree } from "../wording.js";
import { families } from "./family.js";

/** Edits of detail and of the manner. Lengths are in shorter sides of the image, v a gamma-coded value in 0..1, Y the luma. */
export const DETAIL = families({
  /** A Gaussian of σ = 0.008, 0.018, 0.036. */
  blur: {
    kind: "detail",
    phrases: [
      "blur {it} {by}",
      "make {it} {very} blurry",
      "make {it} {very} blurred",
      "make {it} {more} softer",
      "make {it} {very} out of focus",
      "add a blur",
      "blur the whole image {by}",
      "put {it} out of focus",
    ],
    caption: "{very} blurry",
    apply: (photo, degree) => blurPhoto(photo, byDegree(degree, [0.008, 0.018, 0.036]) * unitOf(photo)),
  },
  /**
   * Unsharp masking that leaves the finest grain as it is: v' = v + a (G₁(v) − G₂(v)) with σ₁ = 0.006, σ₂ = 0.02 and a = 0.9, 1.7,
   * 2.8.
   */
  sharpen: {
    kind: "detail",
    phrases: [
      "sharpen {it} {by}",
      "make {it} {more} sharper",
      "make {it} {more} crisper",
      "make the details {more} clearer",
      "bring out the details {by}",
      "increase the sharpness {by}",
      "{it} should be {more} sharper",
      "more sharpness",
    ],
    caption: "{more} sharper",
    apply: (photo, degree) => {
      const [fine, coarse] = [0.006, 0.02].map((sigma) => blurPhoto(photo, sigma * unitOf(photo)).data);
      const strength = byDegree(degree, [0.9, 1.7, 2.8]);
      return { ...photo, data: photo.data.map((v, i) => clip(v + strength * (fine![i]! - coarse![i]!))) };
    },
  },
  /** Every channel, softened by σ = 0.006, rounded to n even levels from 0 to 1 with n = 6, 4, 3. */
  posterize: {
    kind: "style",
    phrases: [
      "posterize {it} {by}",
      "make {it} a poster with few colours",
      "reduce the number of colours {by}",
      "use {more} fewer colours",
      "show {it} in a few flat colours",
      "turn {it} into flat areas of colour",
      "make {it} look {very} posterized",
    ],
    caption: "{very} posterized",
    apply: (photo, degree) => {
      const steps = byDegree(degree, [6, 4, 3]) - 1;
      return mapValues(blurPhoto(photo, 0.006 * unitOf(photo)), (v) => Math.round(v * steps) / steps);
    },
  },
  /** Squares of 1/48, 1/28, 1/16 of the shorter side, each of its mean colour. */
  pixelate: {
    kind: "style",
    phrases: [
      "pixelate {it} {by}",
      "make {it} {very} pixelated",
      "turn {it} into big pixels",
      "show {it} in big pixels",
      "make {it} {very} blocky",
      "turn {it} into pixel art",
      "make {it} look like an old video game",
    ],
    caption: "{very} pixelated",
    apply: (photo, degree) => pixelate(photo, unitOf(photo) / byDegree(degree, [48, 28, 16])),
  },
  /** Pencil on white paper: the grey (Y / G(Y))^k with σ = 0.012 and k = 1.2, 1.8, 2.8, over a little of the shading. */
  sketch: {
    kind: "style",
    colourless: true,
    phrases: [
      "make {it} a pencil sketch",
      "turn {it} into a pencil sketch",
      "turn {it} into a pencil drawing",
      "draw {it} with a pencil",
      "pencil sketch",
      "sketch {it}",
      "make {it} look like a drawing",
      "make {it} a {very} dark pencil drawing",
      "make {it} a {very} rough pencil sketch",
      "as a drawing in pencil",
    ],
    caption: "as a {very} dark pencil drawing",
    apply: (photo, degree) => {
      const grey = lumaOf(photo);
      const { data } = blurPlane(grey, 0.012 * unitOf(photo));
      const power = byDegree(degree, [1.2, 1.8, 2.8]);
      return mapPhoto(photo, (_r, _g, _b, pixel, set) => {
        const y = grey.data[pixel]!;
        const line = Math.min(1, (y + 0.04) / (data[pixel]! + 0.04)) ** power;
        const shade = line * mix(0.72, 0.98, ramp(0, 0.7, y));
        set(shade, shade, shade);
      });
    },
  },
  /** Kuwahara's filter with soft weights (`oilPaint`), of radius 0.012, 0.02, 0.032; saturation × 1.2. */
  oil_paint: {
    kind: "style",
    phrases: [
      "make {it} an oil painting",
      "turn {it} into an oil painting",
      "turn {it} into a painting",
      "paint {it} in oil",
      "oil painting",
      "make {it} look like a painting",
      "make {it} look {very} painted",
      "paint {it} with {very} broad strokes",
      "as an oil painting",
    ],
    caption: "as an oil painting",
    apply: (photo, degree) =>
      mapPhoto(oilPaint(photo, byDegree(degree, [0.012, 0.02, 0.032]) * unitOf(photo)), (r, g, b, _, set) => {
        const y = luma(r, g, b);
        set(mix(y, r, 1.2), mix(y, g, 1.2), mix(y, b, 1.2));
      }),
  },
  /** Flat colours (`oilPaint` of radius 0.02; Y in 6 soft steps, saturation × 1.4) and dark lines where Y rises by more than 5 to 11 per side. */
  cartoon: {
    kind: "style",
    degrees: false,
    phrases: [
      "make {it} a cartoon",
      "turn {it} into a cartoon",
      "turn {it} into a comic",
      "draw {it} as a cartoon",
      "cartoon style",
      "make {it} look like a cartoon",
      "make {it} look like a comic book",
      "as a cartoon",
    ],
    caption: "as a cartoon",
    apply: (photo) => {
      const unit = unitOf(photo);
      const flat = oilPaint(photo, 0.02 * unit);
      const lines = slopes(blurPlane(lumaOf(photo), 0.007 * unit), unit).data;
      return mapPhoto(flat, (r, g, b, pixel, set) => {
        const y = luma(r, g, b);
        const step = Math.floor(6 * y);
        const stepped = (step + ramp(0.25, 0.75, 6 * y - step)) / 6;
        const ink = 1 - 0.85 * ramp(5, 11, lines[pixel]!);
        const drawn = (v: number) => ink * (stepped + 1.4 * (v - y));
        set(drawn(r), drawn(g), drawn(b));
      });
    },
  },
  /** Grey 0.5 + a (Y(x + d) − Y(x − d)) along the diagonal with d = 0.006 and a = 1.2, 2, 3.2. */
  emboss: {
    kind: "style",
    colourless: true,
    phrases: [
      "emboss {it} {by}",
      "make {it} look {very} embossed",
      "turn {it} into a relief",
      "make {it} a relief in stone",
      "carve {it} in stone",
      "make {it} look like a relief",
      "show {it} as if it were stamped into grey metal",
    ],
    caption: "as a relief",
    apply: (photo, degree) => {
      const { width, height, data } = blurPlane(lumaOf(photo), 0.004 * unitOf(photo));
      const strength = byDegree(degree, [1.2, 2, 3.2]);
      const offset = 0.006 * unitOf(photo);
      const at = (x: number, y: number) => sample(data, width, height, x, y);
      return mapPhoto(photo, (_r, _g, _b, pixel, set) => {
        const [x, y] = [pixel % width, Math.floor(pixel / width)];
        const grey = 0.5 + strength * (at(x + offset, y + offset) - at(x - offset, y - offset));
        set(grey, grey, grey);
      });
    },
  },
});

/** Bilinear, with the border repeated. */
function sample(data: Float32Array, width: number, height: number, x: number, y: number): number {
  const [cx, cy] = [Math.min(width - 1, Math.max(0, x)), Math.min(height - 1, Math.max(0, y))];
  const [x0, y0] = [Math.floor(cx), Math.floor(cy)];
  const [x1, y1] = [Math.min(width - 1, x0 + 1), Math.min(height - 1, y0 + 1)];
  const across = (row: number) => mix(data[row * width + x0]!, data[row * width + x1]!, cx - x0);
  return mix(across(y0), across(y1), cy - y0);
}

/** Blocks begin at the upper left corner; their borders are rounded to whole pixels. */
function pixelate(photo: Photo, size: number): Photo {
  const { width, height, data } = photo;
  const result = new Float32Array(data.length);
  const edge = (block: number, end: number) => Math.min(end, Math.round(block * size));
  for (let down = 0; edge(down, height) < height; down++)
    for (let across = 0; edge(across, width) < width; across++) {
      const [top, bottom] = [edge(down, height), edge(down + 1, height)];
      const [left, right] = [edge(across, width), edge(across + 1, width)];
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let y = top; y < bottom; y++)
          for (let x = left; x < right; x++) sum += data[(y * width + x) * 3 + channel]!;
        const mean = sum / ((bottom - top) * (right - left));
        for (let y = top; y < bottom; y++)
          for (let x = left; x < right; x++) result[(y * width + x) * 3 + channel] = mean;
      }
    }
  return { width, height, data: result };
}
