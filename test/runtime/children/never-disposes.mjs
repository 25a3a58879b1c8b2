// Makes tensors and drops them, without a call of dispose() or gc().
import { onOneThread, Tensor } from "./package.mjs";

const MEGABYTE = 2 ** 20;
await onOneThread();
let allocated = 0;
let peak = 0;
while (allocated < 4096 * MEGABYTE) {
  await Tensor.zeros([4, MEGABYTE / 4]);
  allocated += 4 * MEGABYTE;
  peak = Math.max(peak, process.memoryUsage.rss());
}
console.log(JSON.stringify({ allocated, peak }));
