import { type Canvas, inLight } from "./canvas.js";
import { Random } from "./random.js";
import { EXTENT, type Scene } from "./scene.js";
import type { Rgb } from "./vocabulary.js";

type Time = Scene["time"];

/** The light of day and night: at night objects glow, so that their colours are recognisable. */
export const LIGHT: Record<Time, Record<"background" | "object" | "snow", Rgb>> = {
  day: { background: [1, 1, 1], object: [1, 1, 1], snow: [1, 1, 1] },
  night: { background: [0.3, 0.34, 0.52], object: [0.92, 0.92, 0.96], snow: [0.62, 0.68, 0.86] },
};

const SNOW: Rgb = [250, 252, 255];
const MOON: Rgb = [255, 244, 200];
const STAR: Rgb = [232, 236, 255];

/** Evenly spread positions, the same in every scene, so that the result of an edit is determined by the image. */
function spread(
  count: number,
  bottom: number,
  apart: number,
  seed: number,
): { x: number; y: number; radius: number }[] {
  const random = new Random(seed);
  const places: { x: number; y: number; radius: number }[] = [];
  while (places.length < count) {
    const place = { x: random.float() * EXTENT, y: random.float() * bottom, radius: random.float() };
    if (places.every(({ x, y }) => Math.hypot(x - place.x, y - place.y) > apart)) places.push(place);
  }
  return places;
}

const STARS = spread(22, 0.8 * EXTENT, 9, 5);
const FLAKES = spread(44, EXTENT, 6.5, 2);

/** A crescent, and stars unless snow clouds hide them. */
export function drawNightSky(canvas: Canvas, weather: Scene["weather"]): void {
  if (weather === "clear") for (const { x, y, radius } of STARS) canvas.disc(x, y, 0.5 + 0.35 * radius, STAR);
  const [x, y, radius] = [42, 8, 5.2];
  canvas.paint(
    { left: x - 7, top: y - 7, right: x + 7, bottom: y + 7 },
    (px, py) => {
      const inside = Math.hypot(px - x, py - y) - radius;
      const shade = radius - Math.hypot(px - x - 2.6, py - y + 1.6);
      return canvas.coverage(Math.max(inside, shade));
    },
    MOON,
  );
}

/** Snow lies along the bottom in soft hills. */
export function drawGround(canvas: Canvas, time: Time): void {
  canvas.paint(
    { left: 0, top: 50, right: EXTENT, bottom: EXTENT },
    (x, y) => canvas.coverage(55.5 + 1.6 * Math.sin(x / 6.5) + 0.9 * Math.sin(x / 3.7 + 1) - y),
    inLight(SNOW, LIGHT[time].snow),
  );
}

/** Snow in the air, in front of everything. */
export function drawFlakes(canvas: Canvas, time: Time): void {
  const colour = inLight(SNOW, LIGHT[time].snow);
  for (const { x, y, radius } of FLAKES) canvas.disc(x, y, 0.9 + 0.5 * radius, colour);
}
