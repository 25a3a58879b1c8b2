// Times layer operators beside their libtorch equivalents, in turn and in one process:
//
//   node bench/operators.mjs [attention …] [--dtype bfloat16,float32] [--backward] [--rounds 7] [--threads 1]
//
// Prints a Markdown table: GFLOP/s, the speed-up over libtorch's, and the share of the throughput of a matrix product of
// the same type.

import { parseArgs } from "node:util";
import { Tensor } from "../dist/index.js";
import { native } from "../dist/runtime/native.js";
import { inTurn } from "./in-turn.mjs";

/**
 * One row of the table.
 *
 * @typedef {object} Case
 * @property {string} name
 * @property {number[][]} shapes of the tensors
 * @property {number[]} output its shape
 * @property {[string, number[]]} ours name and numbers of the operator
 * @property {[string, number[]]} libtorch
 * @property {number} flop of the forward pass
 * @property {number} backwardFlop
 */

/** Attention of Stable Diffusion 1.5: three rows of guidance, eight heads. @returns {Case} */
function attention(size, channels, queries, keys) {
  const q = [3, 8, queries, channels];
  const k = [3, 8, keys, channels];
  const product = 2 * 3 * 8 * queries * keys * channels;
  return {
    name: `${size}², ${keys === 77 ? "cross" : "self"}, T = ${queries}, D = ${channels}`,
    shapes: [q, k, k],
    output: q,
    ours: ["attention", [0, 0]],
    libtorch: ["attention_libtorch", [0]],
    flop: 2 * product,
    backwardFlop: 5 * product,
  };
}

/** @type {Record<string, Case[]>} */
const OPERATORS = {
  attention: [256, 512].flatMap((size) =>
    [40, 80, 160].flatMap((channels, level) => {
      const tokens = (size / 8 / 2 ** level) ** 2;
      return [attention(size, channels, tokens, tokens), attention(size, channels, tokens, 77)];
    }),
  ),
};

const MATMUL = { size: 1024, flop: 2 * 1024 ** 3 };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dtype: { type: "string", default: "bfloat16,float32" },
    backward: { type: "boolean", default: false },
    rounds: { type: "string", default: "7" },
    threads: { type: "string", default: "1" },
  },
});

/** CPU time on one thread, which other processes disturb less; wall-clock time on several. */
function now() {
  if (values.threads !== "1") return performance.now() / 1000;
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Seconds of one call: the mean of several queued at once, so that this thread does nothing between them. */
async function seconds([name, numbers], tensors, gradient, repeats) {
  const handles = tensors.map(({ handle }) => handle);
  const begun = now();
  const calls = Array.from({ length: repeats }, async () => {
    for (const result of await native().callOperator(name, handles, numbers, gradient?.handle ?? null))
      result.dispose();
  });
  await Promise.all(calls);
  return (now() - begun) / repeats;
}

async function measure({ shapes, output, ours, libtorch, flop, backwardFlop }, dtype) {
  const random = (shape) => Tensor.randn(shape, { dtype });
  const tensors = await Promise.all(shapes.map(random));
  const gradient = values.backward ? await random(output) : undefined;
  const factors = await Promise.all([0, 1].map(() => random([MATMUL.size, MATMUL.size])));
  const contenders = [
    (repeats) => seconds(ours, tensors, gradient, repeats),
    (repeats) => seconds(libtorch, tensors, gradient, repeats),
    (repeats) => seconds(["matmul", []], factors, undefined, repeats),
  ];
  const [own, other, matmul] = await inTurn(contenders, { rounds: Number(values.rounds), sample: 0.03 });
  for (const tensor of [...tensors, ...factors, ...(gradient ? [gradient] : [])]) tensor.dispose();
  const work = values.backward ? flop + backwardFlop : flop;
  return {
    own: work / own / 1e9,
    other: work / other / 1e9,
    matmul: MATMUL.flop / matmul / 1e9,
  };
}

await native().setThreads(Number(values.threads));
const names = positionals.length > 0 ? positionals : Object.keys(OPERATORS);
for (const name of names)
  if (!(name in OPERATORS)) throw new Error(`there is no operator ${name}, only ${Object.keys(OPERATORS).join(", ")}`);
const pass = values.backward ? "forward and backward" : "forward";
for (const name of names)
  for (const dtype of values.dtype.split(",")) {
    console.log(`\n| ${name}, ${dtype}, ${pass} | GFLOP/s | libtorch | ratio | of a matrix product |`);
    console.log("| --- | --- | --- | --- | --- |");
    for (const row of OPERATORS[name]) {
      const { own, other, matmul } = await measure(row, dtype);
      const numbers = [own.toFixed(0), other.toFixed(0), `${(own / other).toFixed(2)}×`];
      console.log(`| ${row.name} | ${numbers.join(" | ")} | ${Math.round((100 * own) / matmul)} % |`);
    }
  }
