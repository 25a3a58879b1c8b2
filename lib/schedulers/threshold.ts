import { InstructPix2PixError } from "../core/errors.js";
import type { Tensor } from "../core/tensor.js";
import { boolean, number } from "./config.js";
import { f32 } from "./float32.js";

/** The keys of dynamic thresholding and clipping, shared by the schedulers that have them. */
export const thresholdKeys = {
  thresholding: boolean(false),
  dynamic_thresholding_ratio: number(0.995, { min: 0, max: 1 }),
  sample_max_value: number(1),
};

export const clipKeys = (fallback: boolean) => ({
  clip_sample: boolean(fallback),
  clip_sample_range: number(1, { min: 0 }),
});

export interface ThresholdSettings {
  readonly dynamic_thresholding_ratio: number;
  readonly sample_max_value: number;
}

/**
 * Dynamic thresholding (Saharia et al. 2022, Imagen, section 2.3): each row of x_0 is clamped to ± the quantile of its
 * absolute values, at least 1 and at most `sample_max_value`, and divided by it.
 * @param original x_0, shape [B, …], float32 or float64
 */
export async function dynamicThreshold(original: Tensor, settings: ThresholdSettings): Promise<Tensor> {
  const quantiles = await original.absQuantileRows(settings.dynamic_thresholding_ratio);
  if (quantiles.some(Number.isNaN))
    throw new InstructPix2PixError("ERR_NOT_FINITE", "dynamic thresholding: the prediction of x_0 is not finite");
  const limits = quantiles.map((quantile) => Math.min(Math.max(quantile, 1), f32(settings.sample_max_value)));
  const clamped = await original.clampRows(
    limits.map((limit) => -limit),
    limits,
  );
  try {
    return await clamped.scaleRows(limits.map((limit) => 1 / limit));
  } finally {
    clamped.dispose();
  }
}
