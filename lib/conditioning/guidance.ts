import { Tensor } from "../core/tensor.js";
import type { DeepFeatures } from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";

/** A row of guidance: its conditioning, and its weight in the sum of predictions. */
export interface GuidanceRow {
  /** The prompt, or the negative prompt. */
  text: boolean;
  /** The image latents, or zeros. Always true where there are none. */
  image: boolean;
  weight: number;
  /** Its place among diffusers' rows, which also has rows that are not computed here. */
  index: number;
}

/** The prediction with text and image, without guidance. */
export const ALONE: readonly GuidanceRow[] = [{ text: true, image: true, weight: 1, index: 0 }];

/**
 * Classifier-free guidance (Ho & Salimans 2022, https://arxiv.org/abs/2207.12598), e = e_negative + s · (e_prompt −
 * e_negative), as weights of the two predictions. Guidance is on if s > 1; without it only the prompt's prediction is
 * used.
 */
export function textGuidanceRows(guidanceScale: number): readonly GuidanceRow[] {
  if (!(guidanceScale > 1)) return ALONE;
  return [
    { text: false, image: true, weight: 1 - guidanceScale, index: 0 },
    { text: true, image: true, weight: guidanceScale, index: 1 },
  ];
}

/**
 * Guidance by text and by image at once (Brooks et al. 2023, https://arxiv.org/abs/2211.09800, section 3.2.1):
 *
 *   e = e_none + s_text · (e_full − e_image) + s_image · (e_image − e_none)
 *
 * as weights of the three predictions. Rows with weight 0 are not computed: if s_image is 1, the unconditional one; if
 * both scales are equal, the one with the image alone. Guidance is on if s_text > 1 and s_image ≥ 1; without it only
 * the prediction with text and image is used.
 */
export function guidanceRows(guidanceScale: number, imageGuidanceScale: number): readonly GuidanceRow[] {
  if (!(guidanceScale > 1 && imageGuidanceScale >= 1)) return ALONE;
  return [
    { text: true, image: true, weight: guidanceScale, index: 0 },
    { text: false, image: true, weight: imageGuidanceScale - guidanceScale, index: 1 },
    { text: false, image: false, weight: 1 - imageGuidanceScale, index: 2 },
  ].filter(({ weight }) => weight !== 0);
}

/**
 * Rows that differ only in their text share an input. Returns the distinct inputs (with or without the image) and,
 * for each row of each of `count` images, the index of its input.
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
 * @param rescale φ of Lin et al. 2023 (https://arxiv.org/abs/2305.08891, section 3.4): the share of the sum that is scaled
 *   to the standard deviation of the prompt's prediction, image by image
 * @returns [B,C,h,w]
 */
export async function combineRows(
  prediction: Tensor,
  rows: readonly GuidanceRow[],
  rescale: number = 0,
): Promise<Tensor> {
  if (rows.length === 1) return await prediction.clone();
  const weights = rows.map(({ weight }) => weight);
  const sum = new Tensor(await native().combineChunks(prediction.handle, weights));
  if (rescale === 0) return sum;
  using _owned = sum;
  const count = sum.shape[0]!;
  const row = rows.findIndex(({ text, image }) => text && image);
  using ofPrompt = await prediction.slice(0, row * count, (row + 1) * count);
  const [wanted, had] = await Promise.all([ofPrompt.stdRows(), sum.stdRows()]);
  return await sum.scaleRows(wanted.map((std, i) => (rescale * std) / had[i]! + (1 - rescale)));
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
