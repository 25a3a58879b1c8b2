// NumPy functions whose exact order of operations decides how a timestep or a sigma rounds.

/** `np.linspace(start, stop, count, endpoint)` in float64. */
export function linspace(start: number, stop: number, count: number, endpoint = true): number[] {
  const intervals = endpoint ? count - 1 : count;
  const delta = stop - start;
  const step = intervals > 0 ? delta / intervals : delta;
  const out = Array.from({ length: count }, (_, i) => i * step + start);
  if (endpoint && count > 1) out[count - 1] = stop;
  return out;
}

/** `np.arange(start, 0, -step)`: NumPy derives the increment from the first two elements. */
export function countdown(start: number, step: number): number[] {
  const increment = start - step - start;
  const count = Math.max(0, Math.ceil(start / step));
  return Array.from({ length: count }, (_, i) => start + i * increment);
}

/** `np.interp(x, [0, 1, …], table)` in float64: linear between entries, clamped at both ends. */
export function interpolate(x: number, table: ArrayLike<number>): number {
  const last = table.length - 1;
  if (x >= last) return table[last]!;
  if (x < 0) return table[0]!;
  const low = Math.floor(x);
  return (table[low + 1]! - table[low]!) * (x - low) + table[low]!;
}
