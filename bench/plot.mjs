// Draws records of measurements as bars, one for each comparison:
//
//   node bench/plot.mjs RECORD.json... --output PLOT.svg

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { comparisons } from "./comparison.mjs";

const INK = "#1f2328";
const PALE = "#8b9097";
const BETTER = "#1a7f5a";
const WORSE = "#c9512c";
const ROW = 26;
const ROOM = { left: 330, bars: 360, right: 290, title: 40 };
const MARGIN = 24;

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const text = (content, { x, y, colour = INK, anchor = "start", bold = false }) =>
  `<text x="${x}" y="${y}" fill="${colour}" text-anchor="${anchor}"${bold ? ' font-weight="600"' : ""}>${escaped(content)}</text>`;

/** An SVG of this package's speed and memory relative to the best way of running the peer. */
export function plot(records) {
  const sections = records.flatMap(comparisons).map(({ title, rows }) => ({
    title,
    rows: rows.filter(({ ratio }) => ratio !== undefined),
  }));
  const shown = sections.filter(({ rows }) => rows.length > 0);
  const most = Math.max(1, ...shown.flatMap(({ rows }) => rows.map(({ ratio }) => ratio)));
  const scale = ROOM.bars / Math.ceil(most * 2) / 0.5;
  const width = MARGIN + ROOM.left + ROOM.bars + ROOM.right;
  const elements = [];
  let y = MARGIN + ROW;
  elements.push(
    text("instruct-pix2pix against diffusers: 1 is diffusers at its best, longer is better", {
      x: MARGIN,
      y,
      bold: true,
    }),
  );
  for (const { title, rows } of shown) {
    y += ROOM.title;
    elements.push(text(title, { x: MARGIN, y, bold: true }));
    for (const { label, values, ratio } of rows) {
      y += ROW;
      const [x, base] = [MARGIN + ROOM.left, y - ROW / 2];
      elements.push(
        text(label, { x: x - 10, y, anchor: "end" }),
        `<rect x="${x}" y="${base}" width="${(ratio * scale).toFixed(1)}" height="${ROW - 8}" rx="2" fill="${ratio >= 1 ? BETTER : WORSE}"/>`,
        `<line x1="${x + scale}" y1="${base - 4}" x2="${x + scale}" y2="${base + ROW - 4}" stroke="${INK}" stroke-dasharray="3 3"/>`,
        text(`${ratio.toFixed(2)}×`, { x: x + ratio * scale + 6, y, bold: true }),
        text(values.map((value) => value.text).join(" / "), { x: width - MARGIN, y, colour: PALE, anchor: "end" }),
      );
    }
  }
  const [{ machine, date, commit }] = records;
  y += ROOM.title;
  elements.push(
    text(`${machine.cpu}, ${machine.cores} cores, ${date.slice(0, 10)}, ${commit}`, { x: MARGIN, y, colour: PALE }),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y + MARGIN}" font-family="system-ui, sans-serif" font-size="14"><rect width="100%" height="100%" fill="#fff"/>${elements.join("\n")}</svg>\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { output: { type: "string" } } });
  if (positionals.length === 0 || !values.output)
    throw new Error("usage: node bench/plot.mjs RECORD.json... --output PLOT.svg");
  writeFileSync(values.output, plot(positionals.map((path) => JSON.parse(readFileSync(path, "utf8")))));
}
