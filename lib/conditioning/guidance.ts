import { Tensor } from "../core/tensor.js";
import type { DeepFeatures } from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";

/** A row of guidance: its conditioning, and its weight in the sum of predictions. */
export interface GuidanceRow {
  /** The prompt, or the negative prompt. */
  text: boolean;
  /** The image latents, or zeros. */
  image: boolean;
  weight: number;
}

/** The prediction with text and picture, without guidance. */
export const ALONE: readonly GuidanceRow[] = [{ text: true, image: true, weight: 1 }];

/**
 * Guidance by text and by image at once (Brooks et al. 2023, https://arxiv.org/abs/2211.09800, section 3.2.1):
 *
 *   e = e_none + s_text · (e_full − e_image) + s_image · (e_image − e_none)
 *
 * as weights of the three predictions. Rows with weight 0 are not computed: if s_image is 1, the unconditional one; if
 * both scales are equal, the one with the picture alone. Guidance is on if s_text > 1 and s_image ≥ 1; without it only
 * the prediction with text and picture is used.
 */
export function guidanceRows(guidanceScale: number, imageGuidanceScale: number): readonly GuidanceRow[] {
  if (!(guidanceScale > 1 && imageGuidanceScale >= 1)) return ALONE;
  return [
    { text: true, image: true, weight: guidanceScale },
    { text: false, image: true, weight: imageGuidanceScale - guidanceScale },
    { text: false, image: false, weight: 1 - imageGuidanceScale },
  ].filter(({ weight }) => weight !== 0);
}

/**
 * Rows that differ only in their text share an input. Returns the distinct inputs (with or without the picture) and,
 * for each row of each of `count` pictures, the index of its input.
 */
export function sharedRows(rows: readonly GuidanceRow[], count: number): { images: boolean[]; sampleRows: number[] } {
  const images = [...new Set(rows.map(({ image }) => image))];
  const sampleRows = rows.flatMap(({ image }) =>
    Array.from({ length: count }, (_, i) => images.indexOf(image) * count + i),
  );
  return { images, sampleRows };
}

/**
 * The weighted sum of the rows' predictions.
 *
 * @param prediction [rows · B,C,h,w], one row's predictions after the other's
 * @returns [B,C,h,w]
 */
export async function combineRows(prediction: Tensor, rows: readonly GuidanceRow[]): Promise<Tensor> {
  if (rows.length === 1) return await prediction.clone();
  return new Tensor(
    await native().combineChunks(
      prediction.handle,
      rows.map(({ weight }) => weight),
    ),
  );
}

/** Whether a fraction of the steps is in the interval; its end is exclusive unless it is 1. */
export function isWithin([from, to]: readonly [number, number], fraction: number): boolean {
  return fraction >= from && (fraction < to || to === 1);
}

/** Deep features are computed in every n-th step, beginning with the first. */
export function deepFeaturesOf(step: number, interval: number): DeepFeatures {
  if (interval === 1) return "forget";
  return step % interval === 0 ? "keep" : "reuse";
}
