// Has two threads compute, gives them at least the niceness of the argument, has them compute again, and prints the niceness of
// all its threads: { main, all }.
import { readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { Tensor } from "../../../dist/index.js";
import { native } from "../../../dist/runtime/native.js";

const least = Number(process.argv[2]);
await native().setThreads(2);
const x = await Tensor.randn([1024, 1024]);
const before = await x.add(x);
await native().raiseNiceness(least);
const after = await x.add(x);
for (const tensor of [x, before, after]) tensor.dispose();
// Behind the name in brackets, fields begin with the third.
const niceness = (tid) =>
  Number(
    readFileSync(`/proc/self/task/${tid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ")[16],
  );
console.log(JSON.stringify({ main: getPriority(), all: readdirSync("/proc/self/task").map(niceness) }));
