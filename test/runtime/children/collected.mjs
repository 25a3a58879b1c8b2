// Holds native memory, lets go of it without disposing, collects garbage. Needs --expose-gc.
import { setTimeout as sleep } from "node:timers/promises";
import { native, onOneThread, Tensor, tinyModel, UNet2DConditionModel } from "./package.mjs";

const MEGABYTE = 2 ** 20;
/** Milliseconds until what should be free counts as kept. */
const PATIENCE = 200_000;
const fill = (kilobytes) => Tensor.full([kilobytes, 256], 1);
const make = {
  tensors: fill,
  // Of the array's bytes V8 knows by itself; the tensor is gone.
  arrays: async (kilobytes) => {
    const tensor = await fill(kilobytes);
    const array = await tensor.toArray();
    tensor.dispose();
    return array;
  },
  models: () => UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`),
  // Of calls whose promises are not kept.
  results: async (kilobytes) => {
    const tensor = await fill(kilobytes);
    const results = await Promise.all([tensor.add(1), tensor.clone()]);
    tensor.dispose();
    return results;
  },
}[process.argv[2]];
const COUNT = { tensors: 4, arrays: 4, models: 8, results: 2 }[process.argv[2]];

const figures = () => ({
  resident: process.memoryUsage.rss(),
  // The bytes of arrays are V8's own.
  counted: native().memoryUsage().bytes + process.memoryUsage().external,
});

/**
 * Collects garbage until `isFree` or for long enough. It takes a while: large memory is freed on its own thread,
 * which has to get its turn, and what tensors had is kept for a second for those that may come.
 */
async function collect(isFree) {
  const deadline = performance.now() + PATIENCE;
  // The first time, what was just made may still be at hand.
  for (let round = 0; round < 3 || (!isFree() && performance.now() < deadline); round++) {
    globalThis.gc();
    await sleep(20);
  }
}

await onOneThread();
// Everything that is loaded or begun at a first call; so little of memory that none of it is waited for later.
await make(1);
await collect(() => native().memoryUsage().objects === 0);
const base = figures();
let held = [];
for (let i = 0; i < COUNT; i++) held.push(await make(40 * 1024));
const full = figures();
held = null;
await collect(() => {
  const { resident, counted } = figures();
  // Small blocks, as models have, stay with the allocator.
  const isReturned = process.argv[2] === "models" || resident - base.resident < (full.resident - base.resident) / 4;
  return isReturned && counted - base.counted < MEGABYTE / 16;
});
console.log(JSON.stringify({ base, held: full, collected: figures() }));
