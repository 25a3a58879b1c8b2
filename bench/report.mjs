import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { comparisons } from "./comparison.mjs";
import { plot } from "./plot.mjs";

/** Markdown tables of a record: one for each case, with one row per measure and one column per side. */
export function table(record) {
  const sections = comparisons(record).map(({ title, rows, case: { agreement, fromFloat32 } }) => {
    const header = [title, ...rows[0].values.map(({ side }) => side), "ratio"];
    const cells = rows.map(({ label, values, ratio }) => [
      label,
      ...values.map(({ text }) => text),
      ratio === undefined ? "" : `${ratio.toFixed(2)}×`,
    ]);
    const lines = [header, header.map(() => "---"), ...cells].map((row) => `| ${row.join(" | ")} |`);
    if (agreement) lines.push("", `Images of both sides: ${agreementText(agreement)}.`);
    if (fromFloat32) {
      const distances = Object.entries(fromFloat32).map(([side, { psnr }]) => `${side} ${psnr?.toFixed(1) ?? "∞"} dB`);
      lines.push(`From the reference's image in float32: ${distances.join(", ")}.`);
    }
    return lines.join("\n");
  });
  return sections.join("\n\n");
}

function agreementText({ maxAbs, psnr, deviation }) {
  if (psnr === null) return "identical";
  return `largest difference ${maxAbs.toExponential(1)} of 1, PSNR ${psnr.toFixed(1)} dB (their standard deviation is ${deviation.toFixed(2)})`;
}

/** Prints a record as tables, and writes it and a plot of it. */
export function report(record, path, log) {
  console.log(table(record));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(record, null, 2)}\n`);
  const picture = path.replace(/(\.json)?$/, ".svg");
  writeFileSync(picture, plot([record]));
  log(`written to ${path} and ${picture}`);
}
