// Measures an optimizer step with the EMA weights, beside libtorch's separate passes for the same:
//
//   node bench/optimizer.mjs [--rounds 7]
//
// About 100 million parameters (2.4 GB with their state). The passes of libtorch run in a process of their own, in turn.

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Tensor } from "../dist/core/tensor.js";
import { UNet2DConditionModel } from "../dist/models/unet_2d_condition.js";
import { native } from "../dist/runtime/native.js";
import { Trainer } from "../dist/training/trainer.js";
import { median } from "./stats.mjs";

const CONFIG = { block_out_channels: [128, 256, 448, 448], in_channels: 8, out_channels: 4, cross_attention_dim: 64 };

/** One side: makes a trainer, then answers every message with the CPU milliseconds of a step. */
async function serve() {
  await native().setThreads(1);
  const unet = await UNet2DConditionModel.fromConfig(CONFIG);
  const trainer = await Trainer.create(unet, {
    adamBeta1: 0.9,
    adamBeta2: 0.999,
    adamEpsilon: 1e-8,
    adamWeightDecay: 1e-2,
    optimizer: "adamw",
    useEma: true,
    gradientCheckpointing: false,
    shadowWeights: false,
    mixedPrecision: null,
  });
  const random = (...shape) => Tensor.randn(shape);
  const parameters = Object.values(await trainer.emaState()).reduce((sum, { size }) => sum + size, 0);
  process.on("message", async ({ oneGo }) => {
    const batch = {
      sample: await random(1, 8, 8, 8),
      timesteps: Tensor.from([500]),
      text: await random(1, 4, 64),
      target: await random(1, 4, 8, 8),
    };
    await trainer.accumulate(batch, 1);
    const before = process.cpuUsage();
    await trainer.step(1e-5, 1, 1, oneGo ? 0.999 : undefined);
    if (!oneGo) await trainer.updateEma(0.999);
    const { user, system } = process.cpuUsage(before);
    process.send({ milliseconds: (user + system) / 1000, parameters });
  });
  process.send("ready");
}

const next = (child) => new Promise((resolve) => child.once("message", resolve));

async function start(capability) {
  const env = { ...process.env, ...(capability && { IP2P_CPU_CAPABILITY: capability }) };
  const child = fork(fileURLToPath(import.meta.url), ["--serve"], { env });
  await next(child);
  return child;
}

const { values } = parseArgs({ options: { serve: { type: "boolean" }, rounds: { type: "string", default: "7" } } });
if (values.serve) {
  await serve();
} else {
  const sides = [
    { child: await start(), oneGo: true, times: [] },
    { child: await start("none"), oneGo: false, times: [] },
  ];
  let parameters;
  for (let round = -1; round < Number(values.rounds); round++)
    for (const side of sides) {
      side.child.send({ oneGo: side.oneGo });
      const answer = await next(side.child);
      parameters = answer.parameters;
      if (round >= 0) side.times.push(answer.milliseconds);
    }
  const [own, plain] = sides.map(({ times }) => median(times));
  console.log(`${(parameters / 1e6).toFixed(0)} M parameters: ${own.toFixed(0)} ms in one pass`);
  console.log(`libtorch's passes: ${plain.toFixed(0)} ms, ratio ${(plain / own).toFixed(2)}`);
  // Reads gradients twice; reads and writes weights, moments and EMA weights.
  console.log(`${((parameters * 40) / own / 1e6).toFixed(1)} GB/s`);
  for (const { child } of sides) child.disconnect();
}
