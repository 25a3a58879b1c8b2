import type { Colour } from "./pixels.js";

/** sRGB's transfer function: a gamma-coded value in 0..1 as linear light in 0..1. */
export function toLight(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

/** The inverse of {@link toLight}. */
export function fromLight(light: number): number {
  return light <= 0.0031308 ? light * 12.92 : 1.055 * light ** (1 / 2.4) - 0.055;
}

/** A colour as hue (0..360, 0 for grey), saturation and value in 0..1. */
export function toHsv(r: number, g: number, b: number): [hue: number, saturation: number, value: number] {
  const most = Math.max(r, g, b);
  const range = most - Math.min(r, g, b);
  if (range === 0) return [0, 0, most];
  const sector = most === r ? ((g - b) / range + 6) % 6 : most === g ? (b - r) / range + 2 : (r - g) / range + 4;
  return [60 * sector, range / most, most];
}

/** The inverse of {@link toHsv}; the hue may be any angle. */
export function fromHsv(hue: number, saturation: number, value: number): Colour {
  const part = (n: number) => {
    const k = (n + hue / 60 + 12) % 6;
    return value - value * saturation * Math.max(0, Math.min(k, 4 - k, 1));
  };
  return [part(5), part(3), part(1)];
}

/** The angle from one hue to another, -180..180. */
export function turn(from: number, to: number): number {
  return ((((to - from + 180) % 360) + 360) % 360) - 180;
}

/** Colours that instructions name, as they tint and frame. */
export const NAMED_COLOURS = {
  red: [0.85, 0.16, 0.14],
  orange: [0.95, 0.53, 0.1],
  yellow: [0.96, 0.84, 0.15],
  green: [0.16, 0.62, 0.25],
  turquoise: [0.1, 0.68, 0.68],
  blue: [0.14, 0.34, 0.85],
  purple: [0.53, 0.24, 0.76],
  pink: [0.95, 0.45, 0.69],
} as const satisfies Record<string, Colour>;
export type ColourName = keyof typeof NAMED_COLOURS;
export const COLOUR_NAMES = Object.keys(NAMED_COLOURS) as ColourName[];

/** The hues by which colours of photographs are told apart: their range in degrees, and the one that recolouring gives. */
export const HUES = {
  red: { from: -16, to: 13, new: 358 },
  orange: { from: 16, to: 42, new: 28 },
  yellow: { from: 44, to: 66, new: 54 },
  green: { from: 70, to: 160, new: 120 },
  turquoise: { from: 163, to: 192, new: 177 },
  blue: { from: 195, to: 252, new: 222 },
  purple: { from: 256, to: 295, new: 275 },
  pink: { from: 298, to: 341, new: 325 },
} as const satisfies Record<ColourName, { from: number; to: number; new: number }>;

/** Degrees over which a mask of a hue fades at its ends. */
const FADE = 6;

/**
 * How much a colour is one of a name, 0..1: by its hue, with soft ends; colours of little saturation (below 0.25) or value
 * (below 0.12) are none.
 */
export function belongsTo(name: ColourName, hue: number, saturation: number, value: number): number {
  if (saturation <= 0.25 || value <= 0.12) return 0;
  const { from, to } = HUES[name];
  const middle = (from + to) / 2;
  const beyond = Math.abs(turn(middle, hue)) - (to - from) / 2;
  const byHue = Math.min(1, Math.max(0, 1 - beyond / FADE));
  return byHue * Math.min(1, (saturation - 0.25) / 0.15) * Math.min(1, (value - 0.12) / 0.1);
}
