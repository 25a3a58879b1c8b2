import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { InstructPix2PixError } from "../core/errors.js";
import type { Tensor } from "../core/tensor.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import type { RunIdentity } from "./checkpoint/lineage.js";
import { type RecordedValue, recordOptions } from "./checkpoint/options.js";
import { readState } from "./checkpoint/state.js";
import { disposeRecord } from "./named-tensors.js";
import { type TrainOptions, trainOptions } from "./options.js";
import type { StartingPoint } from "./resume.js";

/** Finds the start at rank 0; the others take it over. @throws `ERR_CHECKPOINT` where another host does not have the checkpoint */
export async function startTogether(group: ProcessGroup, find: () => Promise<StartingPoint>): Promise<StartingPoint> {
  if (group.size === 1) return find();
  let mine: StartingPoint | undefined;
  const { resumed, ...start } = await group.share(async () => {
    mine = await find();
    const { run, notBefore, inPlace, resumed } = mine;
    const found = resumed && { folder: resumed.folder, step: resumed.step, isOurs: resumed.state !== undefined };
    return { run: run as RunIdentity, notBefore, inPlace, resumed: found ?? null };
  });
  if (mine) return mine;
  if (!resumed) return { ...start, resumed: undefined };
  const { folder, step, isOurs } = resumed;
  if (!existsSync(folder))
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${folder}: rank 0 resumes from it, but it is not there for rank ${group.rank}; all hosts need the same files under the same path`,
    );
  return { ...start, resumed: { folder, step, state: isOurs ? await readState(folder) : undefined } };
}

/** @throws `ERR_DISTRIBUTED` naming an option that differs from rank 0's */
export async function checkSameOptions(group: ProcessGroup, options: TrainOptions): Promise<void> {
  const mine = recordOptions({ ...options }, trainOptions);
  const main = await group.share<Record<string, RecordedValue>>(async () => mine);
  const name = Object.keys(mine).find((each) => mine[each] !== main[each] && !PERSONAL.includes(each));
  if (name !== undefined)
    throw new InstructPix2PixError(
      "ERR_DISTRIBUTED",
      `${name} is ${JSON.stringify(mine[name])} for rank ${group.rank} and ${JSON.stringify(main[name])} for rank 0; all processes need the same options`,
    );
}

/** The options that may differ. */
const PERSONAL = ["local_rank", "num_threads", "cache_dir", "device"];

/** @throws `ERR_DISTRIBUTED` if this process trains other parameters than rank 0 */
export async function checkSameModel(group: ProcessGroup, weights: Record<string, Tensor>): Promise<void> {
  const hash = createHash("sha256");
  for (const [name, { shape, dtype }] of Object.entries(weights)) hash.update(`${name} [${shape}] ${dtype}\n`);
  disposeRecord(weights);
  const mine = hash.digest("hex");
  if ((await group.share(async () => mine)) !== mine)
    throw new InstructPix2PixError(
      "ERR_DISTRIBUTED",
      `rank ${group.rank} trains other parameters than rank 0: their base models differ`,
    );
}
