// Training steps of this package, one JSON object per line on standard output: see train.mjs.

import { randomFillSync } from "node:crypto";
import { join } from "node:path";
import { Generator, synchronize, UNet2DConditionModel } from "../dist/index.js";
import { resolveOptions } from "../dist/options/parse.js";
import { native } from "../dist/runtime/native.js";
import { drawsFrom } from "../dist/training/draws.js";
import { addLora } from "../dist/training/lora.js";
import { trainOptions } from "../dist/training/options.js";
import { BatchEncoder } from "../dist/training/recipes/edit/encoder.js";
import { disposeEncoded, disposeMicroBatch, prepareMicroBatch } from "../dist/training/recipes/edit/micro-batch.js";
import { instructPix2Pix } from "../dist/training/recipes/instruct_pix2pix/recipe.js";
import { Trainer } from "../dist/training/trainer.js";
import { peakBytes } from "./device.mjs";

const settings = JSON.parse(process.argv[2]);
const { model, size, steps, threads, checkpointing, cached, precision, eightBit, attention, accumulation, shadow } =
  settings;
const { device, lora } = settings;
const batch = settings.batch / accumulation;
const say = (object) => process.stdout.write(`${JSON.stringify(object)}\n`);
/** The time in seconds, after all queued work on the device is done. */
const now = async () => {
  await synchronize(device);
  return performance.now() / 1000;
};

await native().setThreads(threads);
let start = await now();
const options = resolveOptions(trainOptions, { pretrainedModelNameOrPath: model, lora, seed: 0n });
const base = await instructPix2Pix.load(options, {
  device,
  frozenDType: precision === "bf16" ? "bfloat16" : "float32",
});
if (attention !== "auto") {
  base.unet.dispose();
  base.unet = await UNet2DConditionModel.fromPretrained(join(model, "unet"), { attention, device });
}
if (lora) await addLora(base, options, new Generator("cpu", 0));
const trainerOptions = {
  adamBeta1: 0.9,
  adamBeta2: 0.999,
  adamEpsilon: 1e-8,
  adamWeightDecay: 1e-2,
  optimizer: eightBit ? "adamw_8bit" : "adamw",
  useEma: false,
  gradientCheckpointing: checkpointing,
  shadowWeights: shadow,
  mixedPrecision: precision === "bf16" ? "bfloat16" : null,
};
const trainer = await Trainer.create(base.unet, trainerOptions, {}, lora);
say({ loadSeconds: (await now()) - start });

const encoder = new BatchEncoder(base, { separately: false });
const pictures = () => randomFillSync(new Uint8Array(batch * size * size * 3));
const loaded = {
  originals: pictures(),
  edited: pictures(),
  prompts: Array(batch).fill("make it winter"),
  size: { width: size, height: size },
};
const flips = Array(batch).fill(false);
const generator = new Generator("cpu", 0);
const draws = drawsFrom(generator, new Generator("cpu", 1), device);
const recipe = {
  scheduler: base.noiseSchedule,
  predictionType: base.predictionType,
  scalingFactor: base.autoencoder.config.scaling_factor,
  dropout: { text: 0.05, image: 0.05, both: 0.05 },
  nullText: await base.nullText(),
};
const kept = cached ? await encoder.encode(loaded, flips) : undefined;
for (let step = 0; step < steps; step++) {
  start = await now();
  let loss = 0;
  for (let micro = 0; micro < accumulation; micro++) {
    const encoded = kept ?? (await encoder.encode(loaded, flips));
    const prepared = await prepareMicroBatch(encoded, draws, recipe);
    loss += (await (await trainer.accumulate(prepared, 1 / accumulation)).item()) / accumulation;
    disposeMicroBatch(prepared);
    if (!kept) disposeEncoded(encoded);
  }
  const { gradNorm } = await trainer.step(1e-5, 1);
  say({ step, seconds: (await now()) - start, loss, gradNorm, peakBytes: await peakBytes(device) });
}
trainer.dispose();
await base.dispose();
