import type { DeepFeatures } from "../native/contract.js";
import { native } from "../native/native.js";
import { Tensor } from "../tensor.js";

/** One prediction for each picture: what it is conditioned on, and its weight in the sum of them. */
export interface GuidanceRow {
  /** The instruction, or what stands for none. */
  text: boolean;
  /** The picture, or zeros. */
  image: boolean;
  weight: number;
}

/** The prediction with text and picture, not guided. */
export const ALONE: readonly GuidanceRow[] = [{ text: true, image: true, weight: 1 }];

/**
 * Guidance by text and by image at once (Brooks et al. 2023, https://arxiv.org/abs/2211.09800, section 3.2.1):
 *
 *   e = e_none + s_text · (e_full − e_image) + s_image · (e_image − e_none)
 *
 * as weights of the three predictions. What has the weight 0 need not be computed: where s_image is 1 that without picture
 * and text, where both scales are equal that of the picture alone. Guidance is on where s_text is above 1 and s_image at
 * least 1; without it the prediction with text and image stands for itself.
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
 * Rows that differ in their text alone have the same input: which inputs there are, with the picture or without, and for
 * each row of each of `count` pictures the row of its input.
 */
export function sharedRows(rows: readonly GuidanceRow[], count: number): { images: boolean[]; sampleRows: number[] } {
  const images = [...new Set(rows.map(({ image }) => image))];
  const sampleRows = rows.flatMap(({ image }) =>
    Array.from({ length: count }, (_, i) => images.indexOf(image) * count + i),
  );
  return { images, sampleRows };
}

/**
 * The weighted sum of what the rows predict.
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

/** Whether a fraction of the steps lies in an interval, whose end belongs to it only if it is 1. */
export function isWithin([from, to]: readonly [number, number], fraction: number): boolean {
  return fraction >= from && (fraction < to || to === 1);
}

/** Deep features are computed in every n-th step, from the first on. */
export function deepFeaturesOf(step: number, interval: number): DeepFeatures {
  if (interval === 1) return "forget";
  return step % interval === 0 ? "keep" : "reuse";
}
