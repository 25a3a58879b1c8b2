// Holds native memory, lets go of it without disposing, collects garbage. Needs --expose-gc.
import { setImmediate } from "node:timers/promises";
import { native, onOneThread, Tensor, tinyModel, UNet2DConditionModel } from "./package.mjs";

const MEGABYTE = 2 ** 20;
// Larger than any block that an allocator keeps for later.
const zeros = () => Tensor.zeros([40, MEGABYTE / 4]);
const make = {
  tensors: zeros,
  // Of the array's bytes V8 knows by itself; the tensor is gone.
  arrays: async () => {
    const tensor = await zeros();
    const array = await tensor.toArray();
    tensor.dispose();
    return array;
  },
  models: () => UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`),
  // Of calls whose promises nobody keeps.
  results: async () => {
    const tensor = await zeros();
    const results = await Promise.all([tensor.add(1), tensor.clone()]);
    tensor.dispose();
    return results;
  },
}[process.argv[2]];
const COUNT = { tensors: 4, arrays: 4, models: 8, results: 2 }[process.argv[2]];

async function collect() {
  for (let i = 0; i < 8; i++) {
    globalThis.gc();
    await setImmediate();
  }
}

const resident = {};
const counted = {};
function measure(when) {
  resident[when] = process.memoryUsage.rss();
  // The bytes of arrays are V8's own.
  counted[when] = native().memoryUsage().bytes + process.memoryUsage().external;
}

await onOneThread();
await make();
await collect();
measure("base");
{
  let held = [];
  for (let i = 0; i < COUNT; i++) held.push(await make());
  measure("held");
  held = null;
}
await collect();
measure("collected");
console.log(JSON.stringify({ resident, counted }));
