// Measures the operators between the matrix products beside their plain counterparts, in turn, on one thread:
//
//   node bench/memory-bound.mjs [--case group-norm,geglu] [--only TEXT] [--rounds 7]
//
// Prints milliseconds of CPU time (wall-clock time suffers on a busy machine), the ratio to the plain operator, and the
// share of the memory bandwidth, measured by a large copy in the same run. A tensor that fits the cache can exceed it.

import { parseArgs } from "node:util";
import { Tensor } from "../dist/core/tensor.js";
import { native } from "../dist/runtime/native.js";
import * as geglu from "./cases/operators/geglu.mjs";
import * as groupNorm from "./cases/operators/group-norm.mjs";
import { call } from "./cases/operators/operator.mjs";
import { inTurn } from "./in-turn.mjs";

const CASES = { "group-norm": groupNorm, geglu };
const SAMPLE_MS = 20;

const { values } = parseArgs({
  options: {
    case: { type: "string", default: Object.keys(CASES).join(",") },
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "7" },
  },
});
const rounds = Number(values.rounds);

/** Milliseconds of CPU time for one call when `count` are queued at once. */
async function sample(work, count) {
  const before = process.cpuUsage();
  const all = await Promise.all(Array.from({ length: count }, work));
  const { user, system } = process.cpuUsage(before);
  for (const tensors of all) for (const tensor of tensors) tensor.dispose();
  return (user + system) / 1000 / count;
}

const medians = (works) =>
  inTurn(
    works.map((work) => (count) => sample(work, count)),
    { rounds, sample: SAMPLE_MS, most: 20 },
  );

async function measure({ name, operator, plainOperator, numbers, tensors, gradient, bytes }, bandwidth) {
  const inputs = await tensors();
  const [output] = await call(operator, inputs, numbers);
  const outputGradient = await gradient(output);
  const [own, plain, ownBoth, plainBoth] = await medians([
    () => call(operator, inputs, numbers),
    () => call(plainOperator, inputs, numbers),
    () => call(operator, inputs, numbers, outputGradient),
    () => call(plainOperator, inputs, numbers, outputGradient),
  ]);
  const share = (size, milliseconds) => `${Math.round((100 * size) / (milliseconds * bandwidth))} %`;
  const columns = [
    own.toFixed(3),
    plain.toFixed(3),
    (plain / own).toFixed(2),
    share(bytes.forward, own),
    ownBoth.toFixed(3),
    plainBoth.toFixed(3),
    (plainBoth / ownBoth).toFixed(2),
    share(bytes.forward + bytes.backward, ownBoth),
  ];
  console.log(`| ${name} | ${columns.join(" | ")} |`);
  for (const tensor of [...inputs, output, outputGradient]) tensor.dispose();
}

await native().setThreads(1);
const large = await Tensor.randn([1 << 26]);
const [copy] = await medians([async () => [await large.clone()]]);
const bandwidth = (2 * 4 * large.size) / copy;
large.dispose();
console.log(`copy: ${(bandwidth / 1e6).toFixed(1)} GB/s\n`);
console.log("| | forward, ms | plain | ratio | bandwidth | forward + backward, ms | plain | ratio | bandwidth |");
console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
for (const name of values.case.split(","))
  for (const one of CASES[name].cases()) if (one.name.includes(values.only)) await measure(one, bandwidth);
