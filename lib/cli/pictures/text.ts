import type { PictureSummary } from "./reporter.js";

/** The last line of a command. */
export function summaryText(summary: PictureSummary): string {
  const { outputs, width, height, seed, steps, stepsPerSecond, seconds } = summary;
  const files = outputs.length > 3 ? `${outputs[0]} … ${outputs.at(-1)}` : outputs.join(", ");
  const pace = stepsPerSecond === undefined ? "" : `, ${rateText(stepsPerSecond)}`;
  const count = steps === 1 ? "1 step" : `${steps} steps`;
  return `${files}: ${width}×${height}, seed ${seed}, ${count} in ${secondsText(seconds.run)}${pace}`;
}

/** How many steps are about to be computed, and what says so. */
export function stepsText(steps: number): string {
  return `--num_inference_steps ${steps}`;
}

/** Which of several tiles is computed; empty for a single one. */
export function tileText(tile: number, tiles: number): string {
  return tiles > 1 ? `tile ${tile} of ${tiles}, ` : "";
}

/** The details that --verbose adds. */
export function detailText(summary: PictureSummary): string {
  const { pipeline, scheduler, device, dtype, seconds, peakMemory, peakDeviceMemory } = summary;
  const total = `loading took ${secondsText(seconds.load)}, everything ${secondsText(seconds.total)}`;
  const onDevice = peakDeviceMemory === undefined ? "" : `, ${megabytes(peakDeviceMemory)} on the device`;
  return `${pipeline} with ${scheduler}, ${dtype} on ${device}; ${total}; at most ${megabytes(peakMemory)} of memory${onDevice}`;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}

/** Slow steps are given in seconds per step. */
export function rateText(stepsPerSecond: number): string {
  if (stepsPerSecond < 1) return `${(1 / stepsPerSecond).toPrecision(3)} s/step`;
  return `${stepsPerSecond >= 100 ? Math.round(stepsPerSecond) : stepsPerSecond.toPrecision(3)} steps/s`;
}

export function secondsText(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole >= 60) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

/**
 * What the safety checker did.
 *
 * @param nsfw for each image
 * @param files of the images; undefined where all are in one
 */
export function replacedText(nsfw: readonly boolean[], files: readonly string[] | undefined): string {
  const replaced = nsfw.flatMap((hidden, i) => (hidden ? [files?.[i] ?? `image ${i + 1}`] : []));
  const what = `${replaced.length} of ${nsfw.length} ${nsfw.length === 1 ? "image" : "images"}`;
  return `the safety checker replaced ${what} by black: ${replaced.join(", ")}; another seed or prompt may help`;
}
