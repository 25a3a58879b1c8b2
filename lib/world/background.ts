import { type Canvas, inLight, mix } from "./canvas.js";
import { type Background, EXTENT, type Scene } from "./scene.js";
import { LIGHT } from "./sky.js";
import { BACKGROUND_COLOURS } from "./vocabulary.js";

/** How much darker the figures of a pattern are than the ground between them. */
const DEPTH = 0.16;
/** The period of two stripes, and of two checks, in pixels. */
const PERIOD = 16;
const DOT_RADIUS = 3;

/** Paints the background, in the light of the hour. */
export function drawBackground(canvas: Canvas, { background, time }: Scene): void {
  const light = LIGHT[time].background;
  const colour = inLight(BACKGROUND_COLOURS[background.colour], light);
  canvas.fill([Math.round(colour[0]), Math.round(colour[1]), Math.round(colour[2])]);
  if (background.kind === "plain") return;
  if (background.kind === "gradient") {
    canvas.paintAll((_, y) => y / EXTENT, inLight(BACKGROUND_COLOURS[background.to], light));
    return;
  }
  const toFigure = FIGURES[background.kind];
  canvas.paintAll((x, y) => canvas.coverage(toFigure(x, y)), mix(colour, [0, 0, 0], DEPTH));
}

/** Signed distances to the outlines of a pattern's figures. */
const FIGURES: Record<Exclude<Background["kind"], "plain" | "gradient">, (x: number, y: number) => number> = {
  stripes: (x, y) => (Math.abs(wrap(x + y, PERIOD)) - PERIOD / 4) * Math.SQRT1_2,
  dots: (x, y) => Math.min(toDot(x, y), toDot(x + PERIOD / 2, y + PERIOD / 2)),
  checks: (x, y) => {
    const [toColumn, toRow] = [Math.abs(wrap(x, PERIOD)) - PERIOD / 4, Math.abs(wrap(y, PERIOD)) - PERIOD / 4];
    const distance = Math.min(Math.abs(toColumn), Math.abs(toRow));
    return toColumn < 0 === toRow < 0 ? -distance : distance;
  },
};

function toDot(x: number, y: number): number {
  return Math.hypot(wrap(x, PERIOD), wrap(y, PERIOD)) - DOT_RADIUS;
}

/** Distance to the nearest of the lines at period / 4, 5 · period / 4, …, with a sign. */
function wrap(value: number, period: number): number {
  return ((value + period / 4) % period) - period / 2;
}
