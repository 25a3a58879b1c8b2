import { COLOUR_NAMES, type ColourName, fromLight, NAMED_COLOURS, toLight } from "../colour.js";
import { type Colour, luma, mapPhoto, mapValues, mix, type Photo } from "../pixels.js";
import { byDegree, type Degree } from "../wording.js";
import { families } from "./family.js";

/** Saturation: v' = Y + k (v − Y). */
const saturate = (photo: Photo, factor: number): Photo =>
  mapPhoto(photo, (r, g, b, _, set) => {
    const y = luma(r, g, b);
    set(mix(y, r, factor), mix(y, g, factor), mix(y, b, factor));
  });

/** Colours along Y from one colour to the next, evenly spaced. */
const alongLuma = (photo: Photo, stops: readonly Colour[]): Photo =>
  mapPhoto(photo, (r, g, b, _, set) => {
    const place = luma(r, g, b) * (stops.length - 1);
    const index = Math.min(stops.length - 2, Math.floor(place));
    const [from, to] = [stops[index]!, stops[index + 1]!];
    const between = (channel: 0 | 1 | 2) => mix(from[channel], to[channel], place - index);
    set(between(0), between(1), between(2));
  });

/**
 * The colour of light: linear light is multiplied by 2^(a s) (red), 2^(0.15 a s) (green) and 2^(−1.2 a s) (blue) with
 * a = 0.25, 0.5, 0.85, scaled so that white keeps its luminance (Rec. 709's weights, before it is clipped).
 */
function whiteBalance(photo: Photo, degree: Degree, sign: number): Photo {
  const stops = sign * byDegree(degree, [0.25, 0.5, 0.85]);
  const gains = [2 ** stops, 2 ** (0.15 * stops), 2 ** (-1.2 * stops)] as const;
  const white = 0.2126 * gains[0] + 0.7152 * gains[1] + 0.0722 * gains[2];
  return mapPhoto(photo, (r, g, b, _, set) =>
    set(
      fromLight((toLight(r) * gains[0]) / white),
      fromLight((toLight(g) * gains[1]) / white),
      fromLight((toLight(b) * gains[2]) / white),
    ),
  );
}

/** Brown for black to cream for white. */
export const SEPIA: readonly Colour[] = [
  [0.13, 0.07, 0.03],
  [0.58, 0.44, 0.29],
  [1, 0.94, 0.8],
];

const HEAT: readonly Colour[] = [
  [0.02, 0, 0.15],
  [0.3, 0.02, 0.55],
  [0.75, 0.13, 0.42],
  [0.96, 0.47, 0.13],
  [1, 0.83, 0.3],
  [1, 1, 0.92],
];

/** Edits of all colours at once. v is a gamma-coded value in 0..1, Y the luma. */
export const COLOUR = families({
  /** All channels are Y. */
  black_and_white: {
    kind: "colour",
    colourless: true,
    degrees: false,
    phrases: [
      "make {it} black and white",
      "turn {it} black and white",
      "black and white",
      "convert {it} to black and white",
      "convert {it} to grayscale",
      "make {it} monochrome",
      "take away the colours",
      "remove all colours",
      "remove the color",
      "show {it} in black and white",
      "{it} in shades of grey",
    ],
    caption: "in black and white",
    apply: (photo) => saturate(photo, 0),
  },
  /** Y along brown, tan and cream. */
  sepia: {
    kind: "colour",
    colourless: true,
    degrees: false,
    phrases: [
      "make {it} sepia",
      "give {it} a sepia tone",
      "turn {it} sepia",
      "sepia",
      "add a sepia filter",
      "apply a sepia effect",
      "show {it} in sepia",
      "tone {it} brown like sepia",
    ],
    caption: "in sepia",
    apply: (photo) => alongLuma(photo, SEPIA),
  },
  /** {@link whiteBalance} towards red. */
  warmer: {
    kind: "colour",
    phrases: [
      "make {it} {more} warmer",
      "make the colours {more} warmer",
      "warm {it} up {by}",
      "give {it} {more} warmer colours",
      "use a {more} warmer light",
      "make the light {more} warmer",
      "{it} should look {more} warmer",
      "add warmth",
    ],
    caption: "in {more} warmer colours",
    apply: (photo, degree) => whiteBalance(photo, degree, 1),
  },
  /** {@link whiteBalance} towards blue. */
  cooler: {
    kind: "colour",
    phrases: [
      "make {it} {more} cooler",
      "make {it} {more} colder",
      "make the colours {more} cooler",
      "cool {it} down {by}",
      "give {it} {more} colder colours",
      "use a {more} colder light",
      "make the light {more} cooler",
      "{it} should look {more} colder",
    ],
    caption: "in {more} cooler colours",
    apply: (photo, degree) => whiteBalance(photo, degree, -1),
  },
  /** v' = Y + k (v − Y) with k = 1.4, 1.9, 2.8. */
  more_saturation: {
    kind: "colour",
    phrases: [
      "make {it} {more} more colourful",
      "make the colours {more} stronger",
      "make the colors {more} more vivid",
      "increase the saturation {by}",
      "saturate {it} {by}",
      "boost the colours {by}",
      "give {it} {more} more vibrant colours",
      "more saturation",
    ],
    caption: "in {more} stronger colours",
    apply: (photo, degree) => saturate(photo, byDegree(degree, [1.4, 1.9, 2.8])),
  },
  /** As more saturation, with k = 0.7, 0.45, 0.2. */
  less_saturation: {
    kind: "colour",
    phrases: [
      "make {it} {more} less colourful",
      "make the colours {more} weaker",
      "make the colors {more} less vivid",
      "reduce the saturation {by}",
      "desaturate {it} {by}",
      "mute the colours {by}",
      "give {it} {more} duller colours",
      "less saturation",
    ],
    caption: "in {more} weaker colours",
    apply: (photo, degree) => saturate(photo, byDegree(degree, [0.7, 0.45, 0.2])),
  },
  /** v' = 1 − v. */
  negative: {
    kind: "colour",
    colourless: true,
    degrees: false,
    phrases: [
      "invert {it}",
      "invert the colours",
      "invert all colors",
      "make {it} a negative",
      "turn {it} into a negative",
      "show {it} as a negative",
      "swap the colours for their opposites",
      "photo negative",
    ],
    caption: "as a negative",
    apply: (photo) => mapValues(photo, (v) => 1 - v),
  },
  /**
   * Colours mixed, by 0.3, 0.55, 0.85, with a ramp along Y from black by the named colour in the middle to white.
   */
  tint: {
    kind: "colour",
    phrases: [
      "tint {it} {colour}",
      "give {it} a {colour} tint",
      "add a {colour} tint",
      "make everything {more} more {colour}",
      "add a {colour} filter",
      "put a {colour} filter over {it}",
      "bathe {it} in {colour} light",
      "tint {it} {colour} {by}",
    ],
    caption: "tinted {colour} {by}",
    variant: (_, random) => ({ colour: random.pick(COLOUR_NAMES) }),
    variantWords: COLOUR_NAMES,
    apply: (photo, degree, { colour }) => {
      const tinted = alongLuma(photo, [[0, 0, 0], NAMED_COLOURS[colour as ColourName], [1, 1, 1]]);
      const share = byDegree(degree, [0.3, 0.55, 0.85]);
      return { ...photo, data: photo.data.map((v, i) => mix(v, tinted.data[i]!, share)) };
    },
  },
  /** Y along black, violet, red, orange, yellow and white. */
  thermal: {
    kind: "colour",
    colourless: true,
    degrees: false,
    phrases: [
      "make {it} a thermal image",
      "turn {it} into a heat map",
      "show {it} as a thermal camera sees it",
      "thermal camera",
      "make {it} look like a heat map",
      "show {it} in the colours of heat",
      "make {it} look like an infrared camera image",
    ],
    caption: "as of a thermal camera",
    apply: (photo) => alongLuma(photo, HEAT),
  },
});
