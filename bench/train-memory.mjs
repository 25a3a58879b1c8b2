// Measures memory and time of training steps of one UNet with random weights, everything before it taken as cached:
//
//   node bench/train-memory.mjs CONFIG.json [--size 256] [--batch 1] [--steps 3] [--float32]
//                               [--rounding stochastic|compensated] [--8bit] [--ema] [--checkpointing] [--release] [--precision bfloat16] [--threads N]
//
// CONFIG.json is the configuration of a UNet, such as unet/config.json of a model. `--size` is the edge of the images
// in pixels. Memory is the process's: resident now, and the largest since the phase began.

import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Generator, Tensor, UNet2DConditionModel } from "../dist/index.js";
import { native } from "../dist/runtime/native.js";
import { Trainer } from "../dist/training/trainer.js";
import { describeMachine, loadAverage, peakMemory } from "./machine.mjs";
import { GIB } from "./stats.mjs";

const TEXT_TOKENS = 77;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: "string", default: "256" },
    batch: { type: "string", default: "1" },
    steps: { type: "string", default: "3" },
    float32: { type: "boolean", default: false },
    rounding: { type: "string", default: "stochastic" },
    "8bit": { type: "boolean", default: false },
    ema: { type: "boolean", default: false },
    checkpointing: { type: "boolean", default: false },
    release: { type: "boolean", default: false },
    precision: { type: "string" },
    threads: { type: "string", default: String(availableParallelism()) },
  },
});
if (positionals.length !== 1) throw new Error("give the configuration of a UNet");

const gib = (bytes) => Math.round((bytes / GIB) * 100) / 100;
let start = performance.now();
/** Reports a phase, and has the system count the largest resident set anew. */
function report(phase, more = {}) {
  const seconds = Math.round((performance.now() - start) / 10) / 100;
  const memory = { residentGiB: gib(process.memoryUsage.rss()), peakGiB: gib(peakMemory()) };
  console.log(JSON.stringify({ phase, seconds, ...memory, ...more, load: loadAverage() }));
  writeFileSync("/proc/self/clear_refs", "5");
  start = performance.now();
}

console.log(JSON.stringify({ ...describeMachine(), ...values }));
await native().setThreads(Number(values.threads));
const config = JSON.parse(readFileSync(positionals[0], "utf8"));
const unet = await UNet2DConditionModel.fromConfig(config, { generator: new Generator("cpu", 0) });
report("random weights in float32");
const trainer = await Trainer.create(unet, {
  adamBeta1: 0.9,
  adamBeta2: 0.999,
  adamEpsilon: 1e-8,
  adamWeightDecay: 1e-2,
  optimizer: values["8bit"] ? "adamw_8bit" : "adamw",
  useEma: values.ema,
  gradientCheckpointing: values.checkpointing,
  releaseGradients: values.release,
  shadowWeights: false,
  bfloat16Weights: !values.float32,
  weightsRounding: values.rounding,
  mixedPrecision: values.precision ?? null,
});
report("trainer");

const [rows, edge] = [Number(values.batch), Number(values.size) / 8];
const textTime = unet.config.addition_embed_type === "text_time";
const pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim;
const size = Number(values.size);
const batch = {
  sample: await Tensor.randn([rows, unet.config.in_channels, edge, edge]),
  timesteps: await Tensor.randint(0, 1000, [rows]),
  conditions: {
    embeddings: await Tensor.randn([rows, TEXT_TOKENS, unet.config.cross_attention_dim]),
    ...(textTime && {
      addedConditions: {
        textEmbeds: await Tensor.randn([rows, pooled]),
        timeIds: Tensor.from(
          Float32Array.from({ length: 6 * rows }, (_, i) => [size, size, 0, 0, size, size][i % 6]),
          [rows, 6],
        ),
      },
    }),
  },
  target: await Tensor.randn([rows, unet.config.out_channels, edge, edge]),
};
for (let step = 1; step <= Number(values.steps); step++) {
  const emaDecay = values.ema ? 0.999 : undefined;
  const update = values.release ? { learningRate: 1e-5, maxGradNorm: 1, emaDecay } : undefined;
  const loss = await (await trainer.accumulate(batch, 1, { update })).item();
  report(`step ${step}, forward and backward`, { loss });
  const { gradNorm } = await trainer.step(1e-5, 1, 1, emaDecay);
  report(`step ${step}, update`, { gradNorm });
}
