import { median } from "./stats.mjs";

export const GIB = 2 ** 30;

/**
 * A Markdown table of a run's cases: one row per measure, one column per side, and how this package compares with the better
 * of the others. What a case measures it says itself, as rows of { label, unit, digits } with either `pick`, one number of a
 * side's results, or `turns`, the times of alternating turns, of which the medians are shown.
 */
export function table(record, cases) {
  const sections = record.cases.map(({ name, settings, results, agreement, fromFloat32 }) => {
    const [ours, ...others] = Object.values(results);
    const rows = cases[name].rows(settings, ours).map(({ label, unit, digits, pick, turns }) => {
      const value = pick ?? ((result) => median(turns(result)));
      const values = Object.values(results).map((result) => `${value(result).toFixed(digits)} ${unit}`);
      // Each turn against the other side's at the same turn: of two medians, each may be of another moment's load.
      const against = (other) =>
        turns ? median(turns(other).map((seconds, i) => seconds / turns(ours)[i])) : value(other) / value(ours);
      const ratios = others.map(against).filter(Number.isFinite);
      return [label, ...values, ratios.length > 0 ? `${Math.min(...ratios).toFixed(2)}×` : ""];
    });
    const header = [
      `${name}, ${settings.dtype}, ${settings.size}×${settings.size}`,
      ...Object.keys(results),
      others.length > 0 ? "ratio" : "",
    ];
    const lines = [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
    if (agreement) lines.push("", `Pictures of both sides: ${agreementText(agreement)}.`);
    if (fromFloat32) {
      const distances = Object.entries(fromFloat32).map(([side, { psnr }]) => `${side} ${psnr?.toFixed(1) ?? "∞"} dB`);
      lines.push(`From diffusers' picture in float32: ${distances.join(", ")}.`);
    }
    return lines.join("\n");
  });
  return sections.join("\n\n");
}

function agreementText({ maxAbs, psnr, deviation }) {
  if (psnr === null) return "identical";
  return `largest difference ${maxAbs.toExponential(1)} of 1, PSNR ${psnr.toFixed(1)} dB (their standard deviation is ${deviation.toFixed(2)})`;
}
