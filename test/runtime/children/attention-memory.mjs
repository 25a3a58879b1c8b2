// The peak of resident memory during one piece of work with attention over many tokens. Linux only.
//
//   node attention-memory.mjs decode|unet|train auto|math
import { readFileSync, writeFileSync } from "node:fs";
import { AutoencoderKL } from "../../../dist/models/autoencoder_kl.js";
import { native, onOneThread, Tensor, tinyModel, UNet2DConditionModel } from "./package.mjs";

const [work, attention] = process.argv.slice(2);
await onOneThread();

function status(key) {
  return 1024 * Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(readFileSync("/proc/self/status", "utf8"))[1]);
}

/** Runs `body` on a small input first, for one-time loading, and then measures it. */
async function peakOf(body, small, large) {
  await body(small);
  writeFileSync("/proc/self/clear_refs", "5"); // the peak begins anew
  const before = status("VmRSS");
  await body(large);
  return status("VmHWM") - before;
}

async function decode() {
  const vae = await AutoencoderKL.fromPretrained(`${tinyModel}/vae`, { attention });
  const input = (edge) => Tensor.zeros([1, 4, edge, edge]);
  const peak = await peakOf((z) => vae.decode(z), await input(8), await input(96));
  return { peak, scores: 4 * 96 ** 4 };
}

async function unet() {
  const model = await UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`, { attention });
  const context = await Tensor.zeros([1, 7, 32]);
  const input = (edge) => Tensor.zeros([1, 8, edge, edge]);
  // The level with attention has half the edge.
  const peak = await peakOf((x) => model.forward(x, 1, context), await input(8), await input(96));
  return { peak, scores: 8 * 4 * 48 ** 4 };
}

async function train() {
  const model = await UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`, { attention });
  const trainer = await native().createTrainer(model.handle, [], {
    ...{ adamBeta1: 0.9, adamBeta2: 0.999, adamEpsilon: 1e-8, adamWeightDecay: 0, optimizer: "adamw" },
    ...{ useEma: false, gradientCheckpointing: false, shadowWeights: false, mixedPrecision: null },
    ...{ bfloat16Weights: false, weightsRounding: "stochastic", roundingSeed: 0, dropoutSeed: 0 },
    ...{ shardRank: 0, shardCount: 1, releaseGradients: false, offloadEma: false, traces: 0 },
  });
  const context = await Tensor.zeros([1, 7, 32]);
  const timestep = Tensor.from(BigInt64Array.of(1n), [1]);
  const input = async (edge) => [await Tensor.zeros([1, 8, edge, edge]), await Tensor.zeros([1, 4, edge, edge])];
  const step = ([sample, target]) =>
    native().trainerMicroStep(
      trainer,
      sample.handle,
      timestep.handle,
      { embeddings: context.handle },
      target.handle,
      { kind: "l2", deltas: null, weights: null },
      1,
      false,
      null,
      null,
    );
  const peak = await peakOf(step, await input(8), await input(96));
  return { peak, scores: 8 * 4 * 48 ** 4 };
}

console.log(JSON.stringify(await { decode, unet, train }[work]()));
