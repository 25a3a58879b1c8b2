const MAX_DECAY = 0.9999;

/**
 * Decay of the moving average at its `update`-th update, counted from 1: 0 at first (a copy), then min(0.9999, (1 + s)
 * / (10 + s)) with s = update − 1, as diffusers' `EMAModel` with its defaults.
 */
export function emaDecay(update: number): number {
  const s = update - 1;
  return s <= 0 ? 0 : Math.min(MAX_DECAY, (1 + s) / (10 + s));
}
