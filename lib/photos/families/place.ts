import { belongsTo, COLOUR_NAMES, type ColourName, fromHsv, HUES, toHsv, turn } from "../colour.js";
import { luma, mapPhoto, mix, type Photo } from "../pixels.js";
import { families } from "./family.js";

/** The least share of an image that must have a colour for an edit of this colour. */
export const COLOUR_SHARE = 0.04;

/** The share of a photograph that has a named colour, 0..1: the mean of `belongsTo`. */
export function shareOf({ data }: Photo, name: ColourName): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 3) sum += belongsTo(name, ...toHsv(data[i]!, data[i + 1]!, data[i + 2]!));
  return (3 * sum) / data.length;
}

/** The named colours that a photograph has enough of. */
const coloursOf = (photo: Photo): ColourName[] => COLOUR_NAMES.filter((name) => shareOf(photo, name) >= COLOUR_SHARE);

/** Edits of what has a certain colour. Hue, saturation and value are those of HSV on gamma-coded sRGB. */
export const PLACE = families({
  /**
   * What has one named colour (`belongsTo`) gets the hue of another; half of its hue's distance from the middle of its colour stays,
   * as do saturation and value. Other colours do not change.
   */
  recolour: {
    kind: "place",
    degrees: false,
    phrases: [
      "make the {from} things {to}",
      "make everything {from} {to}",
      "turn {from} into {to}",
      "change {from} to {to}",
      "replace {from} with {to}",
      "turn everything {from} {to}",
      "change the color {from} to {to}",
      "change the {from} parts to {to}",
      "paint everything {from} {to}",
      "what is {from} should be {to}",
    ],
    caption: "with {to} instead of {from}",
    variant: (photo, random) => {
      const possible = coloursOf(photo);
      if (possible.length === 0) return undefined;
      const from = random.pick(possible);
      // Neighbouring hues could hardly be told apart.
      const others = COLOUR_NAMES.filter((name) => Math.abs(turn(HUES[from].new, HUES[name].new)) > 40);
      return { from, to: random.pick(others) };
    },
    variantWords: COLOUR_NAMES,
    apply: (photo, _, words) => {
      const [from, to] = [words.from as ColourName, words.to as ColourName];
      const middle = (HUES[from].from + HUES[from].to) / 2;
      return mapPhoto(photo, (r, g, b, _pixel, set) => {
        const [hue, saturation, value] = toHsv(r, g, b);
        const share = belongsTo(from, hue, saturation, value);
        if (share === 0) return set(r, g, b);
        const [red, green, blue] = fromHsv(HUES[to].new + turn(middle, hue) / 2, saturation, value);
        set(mix(r, red, share), mix(g, green, share), mix(b, blue, share));
      });
    },
  },
  /** All but what has a named colour (`belongsTo`) becomes Y. */
  colour_pop: {
    kind: "place",
    colourless: true,
    degrees: false,
    phrases: [
      "make everything but {colour} black and white",
      "keep only the {colour}",
      "keep only {colour}",
      "black and white except for {colour}",
      "let only {colour} stay",
      "remove all colours but {colour}",
      "only the {colour} parts should keep their colour",
      "everything grey except what is {colour}",
    ],
    caption: "in black and white but for the {colour}",
    variant: (photo, random) => {
      const possible = coloursOf(photo);
      return possible.length === 0 ? undefined : { colour: random.pick(possible) };
    },
    variantWords: COLOUR_NAMES,
    apply: (photo, _, { colour }) =>
      mapPhoto(photo, (r, g, b, _pixel, set) => {
        const share = belongsTo(colour as ColourName, ...toHsv(r, g, b));
        const y = luma(r, g, b);
        set(mix(y, r, share), mix(y, g, share), mix(y, b, share));
      }),
  },
  /** Green leaves and yellowish grass (hues 50 to 165, as `belongsTo` fades) turn orange and red: hue 28 − (hue − 95) / 5, more saturated. */
  autumn: {
    kind: "place",
    phrases: [
      "make it autumn",
      "turn it into autumn",
      "let it be autumn",
      "make it fall",
      "change the season to autumn",
      "make the leaves orange",
      "turn the green leaves orange",
      "show it in autumn",
      "let autumn come",
    ],
    caption: "in autumn",
    degrees: false,
    variant: (photo) => (shareOf(photo, "green") + shareOf(photo, "yellow") >= 2 * COLOUR_SHARE ? {} : undefined),
    apply: (photo) =>
      mapPhoto(photo, (r, g, b, _pixel, set) => {
        const [hue, saturation, value] = toHsv(r, g, b);
        const bright = Math.min(1, Math.max(0, (value - 0.06) / 0.12));
        const share = Math.min(1, Math.max(0, (saturation - 0.12) / 0.15)) * bright * hueBetween(50, 165, hue);
        if (share === 0) return set(r, g, b);
        const [red, green, blue] = fromHsv(
          28 - turn(95, hue) / 5,
          Math.min(1, 0.15 + 1.15 * saturation),
          Math.min(1, 1.15 * value),
        );
        set(mix(r, red, share), mix(g, green, share), mix(b, blue, share));
      }),
  },
});

/** 1 between two hues, 0 from 10 degrees beyond. */
function hueBetween(from: number, to: number, hue: number): number {
  const beyond = Math.abs(turn((from + to) / 2, hue)) - (to - from) / 2;
  return Math.min(1, Math.max(0, 1 - beyond / 10));
}
