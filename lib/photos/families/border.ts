import { COLOUR_NAMES, NAMED_COLOURS } from "../colour.js";
import { blurPhoto } from "../filters/blur.js";
import { drawLayer, type LayerShape } from "../filters/layer.js";
import { type Colour, luma, mapPhoto, mix, type Photo, ramp, unitOf } from "../pixels.js";
import { byDegree, type Degree } from "../wording.js";
import { SEPIA } from "./colour.js";
import { families } from "./family.js";

const FRAME_COLOURS: Readonly<Record<string, Colour>> = {
  white: [0.97, 0.97, 0.97],
  black: [0.04, 0.04, 0.04],
  grey: [0.5, 0.5, 0.5],
  brown: [0.4, 0.25, 0.13],
  ...NAMED_COLOURS,
};
const FRAME_NAMES = ["white", "black", "grey", "brown", ...COLOUR_NAMES] as const;
/** Every second frame is white or black. */
const USUAL = ["white", "black"] as const;

interface Margins {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** A coloured border over the image's own pixels; margins in pixels, whose fractions mix. */
function frame(photo: Photo, { left, right, top, bottom }: Margins, colour: Colour): Photo {
  const { width, height } = photo;
  return mapPhoto(photo, (r, g, b, pixel, set) => {
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    const inside = (at: number, from: number, to: number) => Math.max(0, Math.min(1, at + 1 - from, to - at));
    const share = 1 - inside(x, left, width - right) * inside(y, top, height - bottom);
    set(mix(r, colour[0], share), mix(g, colour[1], share), mix(b, colour[2], share));
  });
}

const widthOf = (degree: Degree) => byDegree(degree, [0.03, 0.06, 0.11]);

/** Scratches and spots of an old photograph, always the same: places in shorter sides and heights. */
const SCRATCHES = [
  { x: 0.17, from: 0, to: 0.55, lean: 0.02 },
  { x: 0.62, from: 0.2, to: 1, lean: -0.03 },
  { x: 0.86, from: 0.05, to: 0.4, lean: 0.01 },
] as const;
const SPOTS = [
  { x: 0.12, y: 0.2, radius: 0.008 },
  { x: 0.41, y: 0.68, radius: 0.006 },
  { x: 0.73, y: 0.3, radius: 0.01 },
  { x: 0.58, y: 0.9, radius: 0.007 },
  { x: 0.9, y: 0.77, radius: 0.009 },
  { x: 0.27, y: 0.47, radius: 0.005 },
] as const;

function* wear({ width, height }: Photo, unit: number): Generator<LayerShape> {
  const half = 0.0022 * unit;
  for (const { x, from, to, lean } of SCRATCHES) {
    const at = (y: number) => x * width + lean * unit * (y / height - from);
    const ends = [at(from * height), at(to * height)];
    yield {
      ...{ left: Math.min(...ends) - half, right: Math.max(...ends) + half, top: from * height, bottom: to * height },
      opacity: (px, py) => (Math.abs(px - at(py)) <= half ? 0.5 : 0),
    };
  }
  for (const spot of SPOTS) {
    const [x, y, radius] = [spot.x * width, spot.y * height, spot.radius * unit];
    yield {
      ...{ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius },
      opacity: (px, py) => 0.65 * ramp(1, 0.5, Math.hypot(px - x, py - y) / radius),
    };
  }
}

/** Frames and what ends at the border. Lengths are in shorter sides of the image. */
export const BORDER = families({
  /** A border of one colour, 0.03, 0.06, 0.11 wide, over the outer part of the image. */
  frame: {
    kind: "border",
    phrases: [
      "add a {colour} frame",
      "put {it} in a {colour} frame",
      "put a {very} thick {colour} frame around {it}",
      "frame {it} in {colour}",
      "add a {colour} border",
      "add a {very} wide {colour} border",
      "give {it} a {colour} border",
      "surround {it} with a {colour} frame",
    ],
    caption: "with a {colour} frame",
    variant: (_, random) => ({ colour: random.pick<string>(random.chance(0.5) ? USUAL : FRAME_NAMES) }),
    variantWords: FRAME_NAMES,
    apply: (photo, degree, { colour }) => {
      const margin = widthOf(degree) * unitOf(photo);
      return frame(photo, { left: margin, right: margin, top: margin, bottom: margin }, FRAME_COLOURS[colour!]!);
    },
  },
  /** A white border, 0.05 wide and 0.18 at the bottom. */
  polaroid: {
    kind: "border",
    degrees: false,
    phrases: [
      "make {it} a polaroid",
      "turn {it} into a polaroid",
      "make {it} an instant photo",
      "give {it} a polaroid frame",
      "put {it} in a polaroid frame",
      "make {it} look like a polaroid",
      "as an instant photo",
    ],
    caption: "in a polaroid frame",
    apply: (photo) => {
      const margin = 0.05 * unitOf(photo);
      const bottom = 0.18 * unitOf(photo);
      return frame(photo, { left: margin, right: margin, top: margin, bottom }, [0.96, 0.955, 0.94]);
    },
  },
  /**
   * Sepia by 85 % of lifted, less contrasted values (0.14 + 0.78 v), softened by σ = 0.004, corners darker by up to 40 %, three thin
   * scratches and six pale spots that are always the same.
   */
  old_photo: {
    kind: "style",
    colourless: true,
    degrees: false,
    phrases: [
      "make {it} an old photograph",
      "turn {it} into an old photograph",
      "make {it} look old",
      "age {it}",
      "make {it} look like an old photo",
      "old photograph",
      "make {it} look like a vintage photo",
      "{it} a hundred years ago",
      "make {it} look worn and old",
    ],
    caption: "as an old photograph",
    apply: (photo) => {
      const { width, height } = photo;
      const unit = unitOf(photo);
      const worn = drawLayer(width, height, wear(photo, unit)).data;
      return mapPhoto(blurPhoto(photo, 0.004 * unit), (r, g, b, pixel, set) => {
        const y = 0.14 + 0.78 * luma(r, g, b);
        const index = y < 0.5 ? 0 : 1;
        const [from, to] = [SEPIA[index]!, SEPIA[index + 1]!];
        const [px, py] = [(2 * (pixel % width) + 1) / width - 1, (2 * Math.floor(pixel / width) + 1) / height - 1];
        const shade = 1 - 0.4 * ramp(0.35, 1, Math.hypot(px, py) / Math.SQRT2);
        const aged = (channel: 0 | 1 | 2) => {
          const toned = shade * mix(y, mix(from[channel], to[channel], 2 * y - index), 0.85);
          return mix(toned, [0.93, 0.88, 0.76][channel]!, worn[pixel]!);
        };
        set(aged(0), aged(1), aged(2));
      });
    },
  },
});
