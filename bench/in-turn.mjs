import { median } from "./stats.mjs";

/**
 * Median times of contenders that are measured in turn, so that a busy machine affects all alike.
 *
 * @param {((repeats: number) => Promise<number>)[]} contenders each repeats its work and resolves to the time of one call
 * @param {{ rounds: number, sample: number, most?: number }} options `sample`: about how long a contender's turn lasts, in the
 *   contenders' unit, so that call overhead and clock resolution do not matter; `most`: the maximum of repeats per turn
 */
export async function inTurn(contenders, { rounds, sample, most = Number.POSITIVE_INFINITY }) {
  const repeats = [];
  for (const contender of contenders) {
    await contender(1);
    repeats.push(Math.max(1, Math.min(most, Math.round(sample / (await contender(1))))));
  }
  const times = contenders.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (const [i, contender] of contenders.entries()) times[i].push(await contender(repeats[i]));
  return times.map(median);
}
