import { median } from "./stats.mjs";

const GIB = 2 ** 30;

/** A Markdown table of a run's cases: one row per measure, one column per side, and how they compare. */
export function table(record) {
  const sections = record.cases.map(({ name, settings, results, agreement, fromFloat32 }) => {
    const sides = Object.keys(results);
    const [ours, reference] = sides.map((side) => results[side]);
    const row = (label, pick, digits, unit, compare = (r, o) => pick(r) / pick(o)) => {
      const values = sides.map((side) => `${pick(results[side]).toFixed(digits)} ${unit}`);
      return [label, ...values, reference ? `${compare(reference, ours).toFixed(2)}×` : ""];
    };
    // Each step against the other side's at the same turn: of two medians, each may be of another moment's load.
    const byTurn = (r, o) => median(r.stepSeconds.map((seconds, i) => seconds / o.stepSeconds[i]));
    const rows = [
      row(`denoising step, median of ${ours.stepSeconds.length}`, (r) => r.medianStepSeconds, 2, "s", byTurn),
      row("fastest step", (r) => Math.min(...r.stepSeconds), 2, "s"),
      row(`whole edit, ${settings.steps} steps`, (r) => r.medianEditSeconds, 2, "s"),
      row("loading the model", (r) => r.loadSeconds, 1, "s"),
      row("peak memory", (r) => r.peakBytes / GIB, 2, "GiB"),
    ];
    const header = [
      `${name}, ${settings.dtype}, ${settings.size}×${settings.size}`,
      ...sides,
      reference ? "ratio" : "",
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
