// Ends in one of the ways a program can end, most of them with native work under way.
//
//   node ending.mjs MODE
import { onOneThread, Tensor, tinyModel, UNet2DConditionModel } from "./package.mjs";

const mode = process.argv[2];
await onOneThread();
const unet = await UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`);
const sample = await Tensor.randn([1, 8, 48, 48]);
const context = await Tensor.randn([1, 7, 32]);
const forward = () => unet.forward(sample, 5, context);
process.on("exit", (code) => console.log(`exit ${code}`));

/** Hours of work in the queue, of which some has begun. */
async function compute() {
  const jobs = Array.from({ length: 20_000 }, forward);
  for (const job of jobs) job.catch(() => {});
  await Promise.race([jobs[0]]);
  console.log("computing");
}

switch (mode) {
  case "idle":
    await (await forward()).toArray();
    console.log("done");
    break;
  case "waited-for":
    forward().then(() => console.log("done"));
    break;
  case "unhandled":
    unet.dispose();
    forward();
    break;
  case "exit":
    await compute();
    process.exit(7);
    break;
  case "exit-code":
    // Ends by itself once the work is done.
    forward();
    process.exitCode = 3;
    break;
  case "throw":
    await compute();
    throw new Error("in the middle of the work");
  case "abort-signal":
    await compute();
    process.kill(process.pid, "SIGTERM");
    break;
  case "handled-signal":
    process.on("SIGTERM", () => process.exit(143));
    await compute();
    process.kill(process.pid, "SIGTERM");
    break;
}
