const MAX_DECAY = 0.9999;

/**
 * Decay of the moving average for its `update`-th update, from 1: the first copies the weights, later ones keep
 * min(0.9999, (1 + s) / (10 + s)) of the average, s = update − 1. diffusers' `EMAModel` with its defaults.
 */
export function emaDecay(update: number): number {
  const s = update - 1;
  return s <= 0 ? 0 : Math.min(MAX_DECAY, (1 + s) / (10 + s));
}
