import sharp from "sharp";
import { textElement } from "../../dist/drawing/letters.js";
import { COLOURS, svgDocument } from "../../dist/drawing/svg.js";

const CELL = { width: 132, height: 84 };
const MARGIN = 48;
/** Margins: left for the image scales, above for the title, below for the text scales. */
const ROOM = { left: 92, top: 62, bottom: 64 };
const BETWEEN = 64;

/** The measures shown for each pair of scales, and their colour ranges. */
const PANELS = [
  {
    title: "edits that succeed",
    value: ({ success }) => success,
    text: (success) => `${(100 * success).toFixed(0)} %`,
    colours: ["#eef4ea", "#8fc79a", "#1b7f4d", "#07402a"],
  },
  {
    title: "error outside the edit",
    value: ({ outside }) => outside,
    text: (outside) => outside.toFixed(3),
    colours: ["#fbf1e4", "#f3b878", "#cf5b2c", "#6b1d16"],
  },
];

/**
 * Draws heat maps of successes and of the error outside the edits over the guidance scales.
 *
 * @param grid scores with their `guidanceScale` and `imageGuidanceScale`, each pair once
 * @param best the one that gets a frame
 * @returns {Promise<Buffer>} a PNG
 */
export async function drawGuidance(grid, best) {
  const unique = (key) => [...new Set(grid.map((entry) => entry[key]))].sort((a, b) => a - b);
  const [texts, images] = [unique("guidanceScale"), unique("imageGuidanceScale")];
  const panel = { width: texts.length * CELL.width, height: images.length * CELL.height };
  const width = 2 * MARGIN + PANELS.length * (ROOM.left + panel.width) + BETWEEN * (PANELS.length - 1);
  const height = 2 * MARGIN + ROOM.top + panel.height + ROOM.bottom;
  const place = ({ guidanceScale, imageGuidanceScale }) => ({
    x: texts.indexOf(guidanceScale) * CELL.width,
    // The y axis points upwards.
    y: panel.height - (images.indexOf(imageGuidanceScale) + 1) * CELL.height,
  });

  const panels = PANELS.map(({ title, value, text, colours }, i) => {
    const known = grid.map(value).filter((number) => number !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const shade = (number) => (high === low ? 0.5 : (number - low) / (high - low));
    const cells = grid.map((entry) => cell(place(entry), value(entry), { text, shade, colours }));
    const left = MARGIN + ROOM.left + i * (panel.width + ROOM.left + BETWEEN);
    return `<g transform="translate(${left} ${MARGIN + ROOM.top})">${[
      textElement(title, { x: 0, y: -34, size: 34, colour: COLOURS.ink, bold: true }),
      ...cells,
      frame(place(best)),
      ...axes(texts, images, panel),
    ].join("")}</g>`;
  });
  const paper = `<rect width="${width}" height="${height}" fill="${COLOURS.paper}"/>`;
  return sharp(svgDocument(width, height, paper + panels.join("")))
    .png({ compressionLevel: 9, palette: true })
    .toBuffer();
}

function cell({ x, y }, number, { text, shade, colours }) {
  const known = number !== null;
  const at = known ? shade(number) : 0;
  const fill = known ? colourAt(colours, at) : COLOURS.paper;
  const middle = { x: x + CELL.width / 2, y: y + CELL.height / 2 + 8, size: 28, anchor: "middle" };
  return (
    `<rect x="${x + 2}" y="${y + 2}" width="${CELL.width - 4}" height="${CELL.height - 4}" rx="8" fill="${fill}"/>` +
    textElement(known ? text(number) : "-", { ...middle, colour: at > 0.45 ? "#fff" : COLOURS.ink })
  );
}

/** Interpolates between equally spaced colours. */
function colourAt(colours, share) {
  const at = share * (colours.length - 1);
  const first = Math.min(Math.floor(at), colours.length - 2);
  const channels = (colour) => [1, 3, 5].map((i) => Number.parseInt(colour.slice(i, i + 2), 16));
  const [from, to] = [channels(colours[first]), channels(colours[first + 1])];
  return `rgb(${from.map((value, i) => Math.round(value + (at - first) * (to[i] - value))).join()})`;
}

/** A dark line with a light one inside, visible on any colour. */
function frame({ x, y }) {
  const line = (inset, colour) =>
    `<rect x="${x + inset}" y="${y + inset}" width="${CELL.width - 2 * inset}" height="${CELL.height - 2 * inset}" ` +
    `rx="${10 - inset}" fill="none" stroke="${colour}" stroke-width="4"/>`;
  return line(4, COLOURS.paper) + line(0, COLOURS.ink);
}

function axes(texts, images, { width, height }) {
  const [size, colour] = [24, COLOURS.ink];
  const columns = texts.map((scale, i) =>
    textElement(String(scale), { x: (i + 0.5) * CELL.width, y: height + 34, size, colour, anchor: "middle" }),
  );
  const rows = images.map((scale, i) =>
    textElement(String(scale), { x: -16, y: height - (i + 0.5) * CELL.height + 7, size, colour, anchor: "end" }),
  );
  const title = { size, colour: COLOURS.pale, anchor: "middle" };
  return [
    ...columns,
    ...rows,
    textElement("guidance by the text", { ...title, x: width / 2, y: height + 76 }),
    `<g transform="translate(-88 ${height / 2}) rotate(-90)">${textElement("guidance by the image", { ...title, x: 0, y: 8 })}</g>`,
  ];
}
