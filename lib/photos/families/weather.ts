import { Random } from "../../world/random.js";
import { blurPhoto } from "../filters/blur.js";
import { drawLayer, type LayerShape } from "../filters/layer.js";
import { skyOf } from "../filters/sky.js";
import { type Colour, clip, luma, mapPhoto, mix, type Photo, type Plane, ramp, unitOf } from "../pixels.js";
import { byDegree, type Degree } from "../wording.js";
import { families } from "./family.js";

/** Flakes and drops of a square of one shorter side; the square is repeated over longer images. */
interface Drop {
  x: number;
  y: number;
  /** 0 for far and small, 1 for near and large. */
  near: number;
}

/** Places that are always the same ones, so that an instruction and an image determine the result; evenly spread. */
function drops(count: number, seed: number, nearPower: number): readonly Drop[] {
  const random = new Random(seed);
  const side = Math.ceil(Math.sqrt(count));
  return Array.from({ length: side * side }, (_, i) => ({
    x: ((i % side) + random.float()) / side,
    y: (Math.floor(i / side) + random.float()) / side,
    near: random.float() ** nearPower,
  }));
}

const FLAKES: Record<Degree, readonly Drop[]> = {
  slight: drops(150, 3, 3),
  plain: drops(330, 4, 3),
  strong: drops(650, 5, 3),
};
const STREAKS: Record<Degree, readonly Drop[]> = {
  slight: drops(110, 6, 2),
  plain: drops(230, 7, 2),
  strong: drops(430, 8, 2),
};

/** The drops of all squares that an image holds, and of those around it, in pixels. */
function* repeated(photo: Photo, list: readonly Drop[]): Generator<Drop> {
  const unit = unitOf(photo);
  for (let down = -1; down <= photo.height / unit; down++)
    for (let across = -1; across <= photo.width / unit; across++)
      for (const { x, y, near } of list) yield { x: (across + x) * unit, y: (down + y) * unit, near };
}

function layer(photo: Photo, list: readonly Drop[], shape: (drop: Drop, unit: number) => LayerShape): Plane {
  const unit = unitOf(photo);
  const shapes = Array.from(repeated(photo, list), (drop) => shape(drop, unit));
  return drawLayer(photo.width, photo.height, shapes);
}

/** A soft disc of radius 0.003 (far) to 0.015 (near). */
function flake({ x, y, near }: Drop, unit: number): LayerShape {
  const radius = mix(0.003, 0.015, near) * unit;
  const most = mix(0.95, 0.75, near);
  return {
    ...{ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius },
    opacity: (px, py) => most * ramp(1, mix(0.4, 0.1, near), Math.hypot(px - x, py - y) / radius),
  };
}

/** Of the horizontal, per vertical length. */
const SLANT = -0.22;

/** A streak of length 0.05 (far) to 0.13 (near), 0.0022 to 0.0048 wide, which fades upwards. */
function streak({ x, y, near }: Drop, unit: number): LayerShape {
  const length = mix(0.05, 0.13, near) * unit;
  const half = (mix(0.0022, 0.0048, near) * unit) / 2;
  const lean = SLANT * length;
  return {
    ...{ left: x + Math.min(0, lean) - half, right: x + Math.max(0, lean) + half, top: y, bottom: y + length },
    opacity: (px, py) => {
      const along = (py - y) / length;
      if (along < 0 || along > 1 || Math.abs(px - x - along * lean) > half) return 0;
      return mix(0.35, 0.6, near) * Math.min(1, 4 * along * (1.25 - along));
    },
  };
}

/** Grey light: less saturation, and the colour of a covered sky. */
function overcast(
  photo: Photo,
  { saturation, gains, lift }: { saturation: number; gains: Colour; lift: number },
): Photo {
  return mapPhoto(photo, (r, g, b, _, set) => {
    const y = luma(r, g, b);
    const dull = (v: number, gain: number) => lift + (1 - lift) * gain * mix(y, v, saturation);
    set(dull(r, gains[0]), dull(g, gains[1]), dull(b, gains[2]));
  });
}

/** Lays a colour over a photograph by opacities. */
function cover(photo: Photo, { data }: Plane, colour: Colour): Photo {
  return mapPhoto(photo, (r, g, b, pixel, set) => {
    const opacity = data[pixel]!;
    set(mix(r, colour[0], opacity), mix(g, colour[1], opacity), mix(b, colour[2], opacity));
  });
}

const FOG: Colour = [0.83, 0.85, 0.87];

/** Weather, times of day and the sky. Lengths are in shorter sides of the image, v is a gamma-coded value in 0..1, Y the luma. */
export const WEATHER = families({
  /**
   * Colours go towards a light grey by opacity d (1 − 0.45 y) with d = 0.5, 0.72, 0.92, where y is 0 at the top and 1 at the bottom,
   * with two waves of ±6 % that are always the same; far detail is softened by a blur of σ = 0.006.
   */
  fog: {
    kind: "weather",
    phrases: [
      "make it {very} foggy",
      "add {of} fog",
      "add fog",
      "cover {it} in fog",
      "let fog rise",
      "make it {very} misty",
      "fill the scene with mist",
      "make it a {very} hazy day",
      "put {it} in fog",
    ],
    caption: "in {very} thick fog",
    apply: (photo, degree) => {
      const { width, height } = photo;
      const unit = unitOf(photo);
      const density = byDegree(degree, [0.5, 0.72, 0.92]);
      return mapPhoto(blurPhoto(photo, 0.006 * unit), (r, g, b, pixel, set) => {
        const [x, y] = [(pixel % width) / unit, Math.floor(pixel / width) / height];
        const waves = 0.06 * (Math.sin(5.1 * x + 7.3 * y) + Math.sin(9.7 * y - 3.3 * x + 1));
        const opacity = clip(density * (1 - 0.45 * y) * (1 + waves));
        set(mix(r, FOG[0], opacity), mix(g, FOG[1], opacity), mix(b, FOG[2], opacity));
      });
    },
  },
  /** 150, 330, 650 soft white flakes per square of a shorter side, of radius 0.003 to 0.015, in the pale light of a covered sky. */
  snow: {
    kind: "weather",
    phrases: [
      "make it snow {by}",
      "let it snow",
      "let it snow {by}",
      "add {of} snow",
      "add falling snow",
      "add snowflakes",
      "it should snow",
      "make it a snowy day",
      "make it look like it is snowing {by}",
      "fill the air with snowflakes",
    ],
    caption: "in {of} falling snow",
    apply: (photo, degree) =>
      cover(
        overcast(photo, { saturation: 0.6, gains: [0.84, 0.88, 0.94], lift: 0.08 }),
        layer(photo, FLAKES[degree], flake),
        [0.98, 0.985, 1],
      ),
  },
  /** 110, 230, 430 slanted streaks per square of a shorter side, of length 0.05 to 0.13, in dull light. */
  rain: {
    kind: "weather",
    phrases: [
      "make it rain {by}",
      "let it rain",
      "let it rain {by}",
      "add {of} rain",
      "add rain",
      "add falling rain",
      "it should rain",
      "make it a rainy day",
      "make it look like it is raining {by}",
    ],
    caption: "in {of} rain",
    apply: (photo, degree) =>
      cover(
        overcast(photo, { saturation: 0.5, gains: [0.62, 0.66, 0.71], lift: 0.04 }),
        layer(photo, STREAKS[degree], streak),
        [0.86, 0.9, 0.95],
      ),
  },
  /**
   * Low sun: warm gains (1.12, 0.82, 0.58), and a light screened over it that goes from violet at the top to orange at 60 % of the
   * height and down to none, stronger where the sky is.
   */
  sunset: {
    kind: "time",
    degrees: false,
    phrases: [
      "make it sunset",
      "turn it into a sunset",
      "show it at sunset",
      "add a sunset",
      "let the sun set",
      "make it evening",
      "make it look like sunset",
      "give {it} the light of the evening",
      "{it} at sunset",
      "change the time to sunset",
    ],
    caption: "at sunset",
    apply: (photo) => {
      const sky = skyOf(photo).data;
      const { width, height } = photo;
      const [violet, orange]: [Colour, Colour] = [
        [0.5, 0.22, 0.42],
        [1, 0.46, 0.1],
      ];
      return mapPhoto(photo, (r, g, b, pixel, set) => {
        const y = Math.floor(pixel / width) / height;
        const low = ramp(0, 0.6, y);
        const strength = mix(0.2 * ramp(1, 0.5, y), 0.62, sky[pixel]!);
        const light = luma(r, g, b);
        const lit = (v: number, gain: number, channel: 0 | 1 | 2) => {
          const warm = gain * v * mix(0.86, 1, light);
          return mix(warm, mix(violet[channel], orange[channel], low) * mix(0.75, 1.1, light), strength);
        };
        set(lit(r, 1.12, 0), lit(g, 0.82, 1), lit(b, 0.58, 2));
      });
    },
  },
  /** Where the sky is (`skyOf`), v' = k v with k = 0.7, 0.5, 0.3, and blue keeps a tenth more. At least a tenth of the image must be sky. */
  darker_sky: {
    kind: "place",
    phrases: [
      "make the sky {more} darker",
      "darken the sky {by}",
      "the sky should be {more} darker",
      "give {it} a {more} darker sky",
      "make the sky {very} dark",
      "turn the sky dark",
    ],
    caption: "with a {more} darker sky",
    variant: hasSky,
    apply: (photo, degree) => {
      const factor = byDegree(degree, [0.7, 0.5, 0.3]);
      return inSky(photo, (r, g, b) => [factor * r, factor * g, Math.min(1, 1.1 * factor) * b]);
    },
  },
  /** Where the sky is, colours go towards red by 0.3, 0.5, 0.75 of the way, with their own brightness. */
  redder_sky: {
    kind: "place",
    phrases: [
      "make the sky {more} redder",
      "redden the sky {by}",
      "the sky should be {more} redder",
      "give {it} a {more} redder sky",
      "make the sky red",
      "turn the sky red",
      "paint the sky red",
    ],
    caption: "with a {more} redder sky",
    variant: hasSky,
    apply: (photo, degree) => {
      const share = byDegree(degree, [0.3, 0.5, 0.75]);
      return inSky(photo, (r, g, b) => {
        const y = luma(r, g, b);
        return [mix(r, 0.25 + 0.75 * y, share), mix(g, 0.42 * y, share), mix(b, 0.34 * y, share)];
      });
    },
  },
});

/** The least share of the image for edits of the sky. */
const SKY_SHARE = 0.1;

function hasSky(photo: Photo): Record<string, never> | undefined {
  const { data } = skyOf(photo);
  let sum = 0;
  for (const value of data) sum += value;
  return sum >= SKY_SHARE * data.length ? {} : undefined;
}

function inSky(photo: Photo, change: (r: number, g: number, b: number) => Colour): Photo {
  const { data } = skyOf(photo);
  return mapPhoto(photo, (r, g, b, pixel, set) => {
    const share = data[pixel]!;
    const [red, green, blue] = change(r, g, b);
    set(mix(r, red, share), mix(g, green, share), mix(b, blue, share));
  });
}
