import sharp from "sharp";
import { textElement, textWidth } from "../../dist/drawing/letters.js";
import { COLOURS, svgDocument } from "../../dist/drawing/svg.js";

/** Screen pixels of an image's side. */
const SIDE = 192;
const MARGIN = 44;
/** Gap between the images of an example. */
const GAP = 12;
/** Gaps between examples, horizontal and vertical. */
const BETWEEN = { columns: 56, rows: 36 };
const TEXT = 30;
const SMALL = 22;
/** Gap between a line's lowest letters and the images below. */
const BELOW_TEXT = 14;
const MARK = 13;
const HEAD = 156;
const COLUMNS = ["before", "result", "truth"];
const RATIO = 4 / 3;

/**
 * Draws results beside what they were made from and what they should be, each with a check mark or a cross.
 *
 * @param {import("../../dist/evaluation/world.js").WorldResult[]} results at least one
 * @param {{ success: number, count: number }} summary of all results, for the heading
 * @param {string} title of characters that lib/drawing/letters.ts supports
 * @returns {Promise<Buffer>} a PNG
 */
export async function drawSheet(results, summary, title = "instruct pix2pix") {
  const cell = { width: 3 * SIDE + 2 * GAP, height: TEXT + BELOW_TEXT + SIDE };
  const sizeFor = (columns) => ({
    columns,
    width: 2 * MARGIN + columns * (cell.width + BETWEEN.columns) - BETWEEN.columns,
    height: HEAD + Math.ceil(results.length / columns) * (cell.height + BETWEEN.rows) - BETWEEN.rows + MARGIN,
  });
  const distance = ({ width, height }) => Math.abs(Math.log(width / height / RATIO));
  const sizes = results.map((_, i) => sizeFor(i + 1));
  const { columns, width, height } = sizes.reduce((best, size) => (distance(size) < distance(best) ? size : best));

  const marks = [heading(title, summary, width)];
  for (let column = 0; column < columns; column++)
    for (const [i, title] of COLUMNS.entries()) {
      const x = MARGIN + column * (cell.width + BETWEEN.columns) + i * (SIDE + GAP) + SIDE / 2;
      marks.push(textElement(title, { x, y: HEAD - 26, size: SMALL, colour: COLOURS.pale, anchor: "middle" }));
    }
  const pictures = [];
  for (const [i, { example, picture, score }] of results.entries()) {
    const left = MARGIN + (i % columns) * (cell.width + BETWEEN.columns);
    const top = HEAD + Math.floor(i / columns) * (cell.height + BETWEEN.rows);
    const indent = 2 * MARK + 12;
    const size = TEXT * Math.min(1, (cell.width - indent) / textWidth(example.instruction, TEXT));
    marks.push(
      verdict(score.success, left + MARK, top + 15),
      textElement(example.instruction, { x: left + indent, y: top + 22, size, colour: COLOURS.ink }),
    );
    const below = top + TEXT + BELOW_TEXT;
    for (const [j, shown] of [example.original, picture, example.target].entries())
      pictures.push({ left: left + j * (SIDE + GAP), top: below, input: await upscaled(shown) });
  }
  return sharp({ create: { width, height, channels: 3, background: COLOURS.paper } })
    .composite([...pictures, { input: svgDocument(width, height, marks.join("")), left: 0, top: 0 }])
    .png({ compressionLevel: 9 })
    .toBuffer();
}

function heading(title, { success, count }, width) {
  const y = MARGIN + 28;
  const share = `${(100 * success).toFixed(1)} % of ${count} edits succeed`;
  return [
    textElement(title, { x: MARGIN, y, size: 36, colour: COLOURS.ink, bold: true }),
    textElement(share, { x: width - MARGIN, y, size: 28, colour: COLOURS.pale, anchor: "end" }),
  ].join("");
}

/** An image with rounded corners and a fine outline, so that snow does not run into the paper. */
async function upscaled({ width, height, data }) {
  const rectangle = (inset, look) =>
    svgDocument(
      SIDE,
      SIDE,
      `<rect x="${inset}" y="${inset}" width="${SIDE - 2 * inset}" height="${SIDE - 2 * inset}" rx="8" ${look}/>`,
    );
  return sharp(data, { raw: { width, height, channels: 3 } })
    .resize(SIDE, SIDE, { kernel: "lanczos3" })
    .ensureAlpha()
    .composite([
      { input: rectangle(0.5, 'fill="none" stroke="#000" stroke-opacity=".16"') },
      { input: rectangle(0, ""), blend: "dest-in" },
    ])
    .png()
    .toBuffer();
}

/** A check mark or a cross in a disc. */
function verdict(success, x, y) {
  const line = success ? "M-5.5 .5L-1.5 4.5L6-4" : "M-4.5-4.5L4.5 4.5M4.5-4.5L-4.5 4.5";
  return (
    `<g transform="translate(${x} ${y})"><circle r="${MARK}" fill="${success ? COLOURS.good : COLOURS.bad}"/>` +
    `<path d="${line}" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round"/></g>`
  );
}
