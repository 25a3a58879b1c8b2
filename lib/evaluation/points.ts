/** What is measured of an edit; all similarities are cosines. */
export interface EditMetrics {
  /** The similarity of the original and its caption. */
  sim_0: number;
  /** The similarity of the result and the caption after the edit. */
  sim_1: number;
  /** The similarity of the change of the image and the change of the caption. */
  sim_direction: number;
  /** The similarity of the original and the result. */
  sim_image: number;
  /** Mean absolute difference of the result from the true edit, over the pixels in 0..1. */
  l1: number;
  /** Mean squared difference. */
  l2: number;
  /** Similarity of the result to the true edit. */
  clip_i: number;
  /** Similarity of the result to the caption after the edit. */
  clip_t: number;
  /** The same of the true edit, which results can be compared with. */
  clip_t_target: number;
}

export const METRICS = [
  ...["sim_0", "sim_1", "sim_direction", "sim_image", "l1", "l2", "clip_i", "clip_t", "clip_t_target"],
] as (keyof EditMetrics)[];

/** The means of all edits with one image guidance scale: a point of the curve. */
export interface EvaluationPoint extends EditMetrics {
  imageGuidanceScale: number;
  /** Edits that the means are of. */
  count: number;
}

/** The means, added up in the order of the edits. */
export function pointOf(imageGuidanceScale: number, edits: readonly EditMetrics[]): EvaluationPoint {
  const mean = (metric: keyof EditMetrics) => edits.reduce((sum, edit) => sum + edit[metric], 0) / edits.length;
  const means = Object.fromEntries(METRICS.map((metric) => [metric, mean(metric)])) as unknown as EditMetrics;
  return { imageGuidanceScale, count: edits.length, ...means };
}

/** The points as a table for people. */
export function pointTable(points: readonly EvaluationPoint[]): string {
  const head = ["image guidance", ...METRICS.map((metric) => metric.replace("_target", " (true)"))];
  const rows = points.map((point) => [
    String(point.imageGuidanceScale),
    ...METRICS.map((metric) => point[metric].toFixed(4)),
  ]);
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) => cells.map((cell, i) => cell.padStart(widths[i]!)).join("  ");
  return [line(head), "─".repeat(line(head).length), ...rows.map(line)].join("\n");
}
