import { ConnectedGroup } from "../distributed/connected-group.js";
import { placeFromEnvironment } from "../distributed/place.js";
import { alone, type ProcessGroup } from "../distributed/process-group.js";
import { writeRankStatus } from "../distributed/rank-status.js";
import { trainingDevice } from "./device.js";
import type { TrainOptions } from "./options.js";

/**
 * Runs `work` as one of the processes that the environment names, after all of them have met; or alone. An error is told
 * to the others.
 *
 * @throws `ERR_DISTRIBUTED`, `ERR_ABORTED`, and what `work` throws
 */
export async function withProcessGroup<T>(
  options: TrainOptions,
  signal: AbortSignal | undefined,
  work: (group: ProcessGroup) => Promise<T>,
): Promise<T> {
  const place = placeFromEnvironment(process.env, options.localRank);
  if (!place) return work(alone);
  const group = await ConnectedGroup.connect(place, {
    timeoutMs: options.distributedTimeout * 1000,
    device: trainingDevice(options, place.localRank),
    signal,
    onStatus: writeRankStatus,
  });
  try {
    return await work(group);
  } catch (error) {
    await group.fail(error);
    throw error;
  } finally {
    await group.close();
  }
}
