import { textElement } from "../drawing/letters.js";
import { COLOURS, svgDocument } from "../drawing/svg.js";
import { imageLibrary } from "../images/sharp.js";
import type { EvaluationPoint } from "./points.js";

const WIDTH = 1200;
const HEIGHT = 800;
const FRAME = { left: 150, right: 50, top: 90, bottom: 120 };
/** Lines of the grid, about. */
const LINES = 6;

/**
 * The paper's figure as an SVG: how much of the image stays against how well its change goes with the caption's, a point for each
 * image guidance scale.
 */
export function drawCurve(points: readonly EvaluationPoint[], guidanceScale: number): Buffer {
  const x = axis(
    points.map((point) => point.sim_direction),
    [FRAME.left, WIDTH - FRAME.right],
  );
  const y = axis(
    points.map((point) => point.sim_image),
    [HEIGHT - FRAME.bottom, FRAME.top],
  );
  const at = ({ sim_direction, sim_image }: EvaluationPoint) =>
    [x.place(sim_direction), y.place(sim_image)].map((value) => value.toFixed(1)).join(" ");
  const line = (from: string, to: string, colour: string, width: number) =>
    `<path d="M${from}L${to}" stroke="${colour}" stroke-width="${width}" fill="none"/>`;
  const [ink, pale] = [
    { size: 26, colour: COLOURS.ink },
    { size: 24, colour: COLOURS.pale },
  ];
  const grid = [
    ...x.ticks.flatMap(({ value, text }) => {
      const place = x.place(value);
      return [
        line(`${place.toFixed(1)} ${FRAME.top}`, `${place.toFixed(1)} ${HEIGHT - FRAME.bottom}`, COLOURS.pale, 0.5),
        textElement(text, { ...pale, x: place, y: HEIGHT - FRAME.bottom + 36, anchor: "middle" }),
      ];
    }),
    ...y.ticks.flatMap(({ value, text }) => {
      const place = y.place(value);
      return [
        line(`${FRAME.left} ${place.toFixed(1)}`, `${WIDTH - FRAME.right} ${place.toFixed(1)}`, COLOURS.pale, 0.5),
        textElement(text, { ...pale, x: FRAME.left - 16, y: place + 7, anchor: "end" }),
      ];
    }),
  ];
  const labels = [
    textElement(`image guidance, with text guidance ${guidanceScale}`, { ...ink, x: FRAME.left, y: 54, bold: true }),
    textElement("clip directional similarity", {
      ...ink,
      ...{ x: (FRAME.left + WIDTH - FRAME.right) / 2, y: HEIGHT - 36, anchor: "middle" },
    }),
    `<g transform="translate(46 ${(FRAME.top + HEIGHT - FRAME.bottom) / 2}) rotate(-90)">${textElement(
      "clip image similarity",
      { ...ink, x: 0, y: 0, anchor: "middle" },
    )}</g>`,
  ];
  const marks = points.map(
    (point) =>
      `<circle cx="${x.place(point.sim_direction).toFixed(1)}" cy="${y.place(point.sim_image).toFixed(1)}" r="7" fill="${COLOURS.good}"/>` +
      textElement(String(point.imageGuidanceScale), {
        ...ink,
        ...{ x: x.place(point.sim_direction) + 14, y: y.place(point.sim_image) - 12 },
      }),
  );
  const curve = `<path d="M${points.map(at).join("L")}" stroke="${COLOURS.good}" stroke-width="4" fill="none"/>`;
  const paper = `<rect width="${WIDTH}" height="${HEIGHT}" fill="${COLOURS.paper}"/>`;
  return svgDocument(WIDTH, HEIGHT, [paper, ...grid, curve, ...marks, ...labels].join("\n"));
}

/** The same as a PNG. */
export function rasterise(svg: Buffer): Promise<Buffer> {
  return imageLibrary()(svg).png({ compressionLevel: 9, palette: true }).toBuffer();
}

interface Axis {
  place(value: number): number;
  ticks: { value: number; text: string }[];
}

/** An axis for values, with a margin and round numbers. */
function axis(values: readonly number[], [from, to]: readonly [number, number]): Axis {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = Math.max(0.08 * (high - low), 1e-3 * Math.max(Math.abs(low), Math.abs(high)), 1e-6);
  const [least, most] = [low - margin, high + margin];
  const rough = (most - least) / LINES;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? 10 * power;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const first = Math.ceil(least / step);
  const count = Math.floor(most / step) - first + 1;
  return {
    place: (value) => from + ((value - least) / (most - least)) * (to - from),
    ticks: Array.from({ length: Math.max(0, count) }, (_, i) => {
      const value = (first + i) * step;
      return { value, text: value.toFixed(digits) };
    }),
  };
}
