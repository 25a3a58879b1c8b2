import { cpSync, existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { InstructPix2PixPipeline } from "../../lib/index.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { native } from "../../lib/runtime/native.js";
import { DDPMScheduler } from "../../lib/schedulers/ddpm.js";
import type { Draws } from "../../lib/training/draws.js";
import { dropoutOf } from "../../lib/training/dropout.js";
import { huberDelta, minSnrWeight } from "../../lib/training/loss-weights.js";
import { type MicroBatchSettings, prepareMicroBatch } from "../../lib/training/recipes/edit/micro-batch.js";
import type { TrainInput } from "../../lib/training/train-input.js";
import { addAdapter, Trainer } from "../../lib/training/trainer.js";
import { fixture } from "../helpers/fixtures.js";
import {
  expectError,
  fingerprint,
  stoppedAfter,
  TemporaryFolder,
  tinyOptions,
  trained,
  watch,
} from "./reliability/tiny-run.js";
import { TrainingBench } from "./training-bench.js";

let recorded: Record<string, Tensor>;
let folder: TemporaryFolder;
beforeAll(async () => {
  recorded = await loadSafetensors(fixture("recipes", "expected.safetensors"));
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

const numbers = async (name: string) => Array.from(await recorded[name]!.toArray(), Number);
const plain = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear", prediction_type: "v_prediction" };

/** Relative, but for numbers next to 0. */
function expectClose(ours: readonly number[], theirs: readonly number[], tolerance = 1e-5): void {
  expect(ours).toHaveLength(theirs.length);
  for (const [i, x] of theirs.entries()) expect(Math.abs(ours[i]! - x)).toBeLessThan(tolerance * (Math.abs(x) + 0.05));
}

describe.each(["plain", "zero"])("with the %s noise schedule", (name) => {
  const scheduler = new DDPMScheduler({ ...plain, rescale_betas_zero_snr: name === "zero" });

  test("ᾱ, noisy latents and velocity are diffusers'", async () => {
    const steps = await numbers("steps");
    expectClose(
      steps.map((t) => scheduler.alphasCumprod[t]!),
      await numbers(`${name}.alphas_cumprod`),
    );
    const [latents, noise] = [recorded.latents!, recorded.noise!];
    for (const [key, made] of [
      ["noisy", await scheduler.addNoise(latents, noise, steps)],
      ["velocity", await scheduler.getVelocity(latents, noise, steps)],
    ] as const)
      expectClose(Array.from(await made.toArray(), Number), await numbers(`${name}.${key}`));
  });

  test("Min-SNR-γ weighs as diffusers' scripts, and where those divide 0 by 0 with the limit", async () => {
    const steps = await numbers("steps");
    for (const [key, type] of [
      ["snr_epsilon", "epsilon"],
      ["snr_v", "v_prediction"],
    ] as const) {
      const ours = steps.map((t) => minSnrWeight(scheduler.alphasCumprod[t]!, 5, type));
      const theirs = await numbers(`${name}.${key}`);
      expectClose(
        ours,
        theirs.map((x) => (Number.isNaN(x) ? 1 : x)),
        1e-4,
      );
    }
  });
});

test("pseudo-Huber thresholds and losses are those of the published script", async () => {
  const scheduler = new DDPMScheduler(plain);
  const steps = await numbers("steps");
  for (const schedule of ["snr", "exponential"] as const)
    expectClose(
      steps.map((t) => huberDelta(schedule, 0.1, t, 1000, scheduler.alphasCumprod[t]!)),
      await numbers(`huber.${schedule}`),
    );
  expect(huberDelta("constant", 0.3, 7, 1000, 0.5)).toBe(0.3);

  // A UNet whose last convolution is zero predicts its bias: here the prediction is known.
  using bench = await TrainingBench.open(fixture("script-full", "base"), {}, { batch: 8, side: 4 });
  const { trainer } = bench;
  const { unet } = trainer;
  const shapes = await native().modelParameterShapes(unet.handle);
  for (const part of ["conv_out.weight", "conv_out.bias"]) {
    using zeros = await Tensor.zeros(shapes[part]!);
    await native().setModelParameter(unet.handle, part, zeros.handle);
  }
  const [latents, noise] = [recorded.latents!, recorded.noise!];
  const batch = { ...(await bench.batch(1)), target: await latents.sub(noise) };
  const deltas = Tensor.from(await numbers("huber.snr"), [8]);
  const loss = async (kind: "huber" | "smooth_l1" | "l2", more = {}) =>
    (await trainer.accumulate({ ...batch, loss: { kind, ...more } }, 1)).item();
  expectClose([await loss("huber", { deltas })], await numbers("huber.loss"));
  expectClose([await loss("smooth_l1", { deltas })], await numbers("huber.smooth_l1"));
  const weights = Tensor.from([2, 0, 0, 0, 0, 0, 0, 0]);
  const first = Array.from(await batch.target.toArray(), Number).slice(0, 64);
  expectClose([await loss("l2", { weights })], [(2 * first.reduce((sum, x) => sum + x * x, 0)) / 64 / 8]);
  await expect(loss("huber")).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
});

test("noise offset and input perturbation change the noise as in diffusers' scripts, and the target only by the first", async () => {
  const [latents, noise] = [recorded.latents!, recorded.noise!];
  const B = latents.shape[0]!;
  const steps = await numbers("steps");
  const offsets = await Tensor.randn([B, 4, 1, 1], { generator: new Generator("cpu", 5) });
  const extra = await Tensor.randn([B, 4, 4, 4], { generator: new Generator("cpu", 6) });
  const noises = [noise, extra];
  const zeros = await Tensor.zeros([B, 4, 4, 4]);
  const draws: Draws = {
    posteriorNoise: () => zeros.clone(),
    noise: () => noises.shift()!.clone(),
    normal: () => offsets.clone(),
    timesteps: async () => Tensor.from(BigInt64Array.from(steps.map(BigInt)), [B]),
    dropout: async () => [],
  };
  const scheduler = new DDPMScheduler({ ...plain, prediction_type: "epsilon" });
  const settings: MicroBatchSettings = {
    ...{ scheduler, predictionType: "epsilon", scalingFactor: 1, dropout: undefined },
    ...{ nullText: {}, noiseOffset: 0.1, inputPerturbation: 0.2 },
  };
  const logvar = await Tensor.full([B, 4, 4, 4], -30);
  const batch = { edited: { mean: latents, logvar }, original: { mean: zeros }, text: {} };
  const made = await prepareMicroBatch(batch, draws, settings);
  const shifted = await noise.add(await offsets.mul(0.1));
  expectClose(Array.from(await made.target.toArray(), Number), Array.from(await shifted.toArray(), Number));
  const noisy = await scheduler.addNoise(latents, await shifted.add(await extra.mul(0.2)), steps);
  const input = Array.from(await (await made.sample.slice(1, 0, 4)).toArray(), Number);
  expectClose(input, Array.from(await noisy.toArray(), Number), 1e-4);
});

test("conditioning dropout by kind drops as often as it says", async () => {
  expect(dropoutOf({ ...noDropout, conditioningDropoutProb: 0.1 })).toEqual({ text: 0.1, image: 0.1, both: 0.1 });
  expect(dropoutOf({ ...noDropout, imageDropoutProb: 0.3 })).toEqual({ text: 0, image: 0.3, both: 0 });
  expect(dropoutOf(noDropout)).toBeUndefined();
  const rows = 2000;
  const ones = await Tensor.full([rows, 1, 1, 1], 1);
  const low = await Tensor.full([rows, 1, 1, 1], -30);
  const text = await Tensor.full([rows, 1, 1], 1);
  const draws: Draws = {
    ...{ posteriorNoise: () => ones.clone(), noise: () => ones.clone(), normal: () => ones.clone() },
    timesteps: async () => Tensor.from(new BigInt64Array(rows), [rows]),
    dropout: async () => Array.from({ length: rows }, (_, i) => (i + 0.5) / rows),
  };
  const made = await prepareMicroBatch(
    { edited: { mean: ones, logvar: low }, original: { mean: ones }, text: { embeddings: text } },
    draws,
    {
      ...{ scheduler: new DDPMScheduler(plain), predictionType: "epsilon", scalingFactor: 1 },
      dropout: { text: 0.05, image: 0.2, both: 0.1 },
      nullText: { embeddings: await Tensor.zeros([1, 1, 1]) },
    },
  );
  const image = Array.from(await (await made.sample.slice(1, 1, 2)).toArray(), Number);
  const words = Array.from(await made.conditions.embeddings!.toArray(), Number);
  const share = (kind: (i: number) => boolean) => image.filter((_, i) => kind(i)).length / rows;
  expect(share((i) => words[i] === 0 && image[i] === 1)).toBe(0.05);
  expect(share((i) => words[i] === 0 && image[i] === 0)).toBe(0.1);
  expect(share((i) => words[i] === 1 && image[i] === 0)).toBe(0.2);
});

const noDropout = {
  conditioningDropoutProb: undefined,
  textDropoutProb: undefined,
  imageDropoutProb: undefined,
  bothDropoutProb: undefined,
};

test.each([
  ["prodigy", 1, 0.999, 0.01],
  ["lion_8bit", 1e-2, 0.99, 0.1],
] as const)("%s makes the steps of the published optimizer", async (optimizer, rate, adamBeta2, adamWeightDecay) => {
  using unet = await copiedUNet();
  const shapes = await native().modelParameterShapes(unet.handle);
  const weights = await numbers(`optimizer.${optimizer === "prodigy" ? "prodigy" : "lion"}`);
  // A last convolution without weights: the UNet predicts its bias, the only thing that has gradients.
  using zeros = await Tensor.zeros(shapes["conv_out.weight"]!);
  await native().setModelParameter(unet.handle, "conv_out.weight", zeros.handle);
  await native().setModelParameter(unet.handle, "conv_out.bias", Tensor.from(weights.slice(0, 4)).handle);
  const layers = ["down_blocks.0.resnets.0.conv1"];
  await addAdapter(unet, { layers, rank: 1, alpha: 1, dropout: 0, inFull: ["conv_out.bias"] }, new Generator("cpu", 0));
  const settings = { optimizer, adamBeta1: 0.9, adamBeta2, adamEpsilon: 1e-8, adamWeightDecay } as const;
  const rest = { useEma: false, gradientCheckpointing: false, shadowWeights: false, mixedPrecision: null } as const;
  using trainer = await Trainer.create(unet, { ...settings, ...rest }, {}, true);
  const target = Tensor.from(
    (await numbers("optimizer.target")).flatMap((x) => Array.from({ length: 16 }, () => x)),
    [1, 4, 4, 4],
  );
  const batch = {
    ...{ sample: await Tensor.randn([1, unet.config.in_channels, 4, 4]), target },
    timesteps: Tensor.from(BigInt64Array.of(5n), [1]),
    conditions: { embeddings: await Tensor.randn([1, 7, unet.config.cross_attention_dim as number]) },
  };
  // Prodigy multiplies the rounding of its first steps: float32 weights go another way than float64 ones, the reference's too.
  const exact = optimizer === "prodigy" ? await numbers("optimizer.prodigy_exact") : weights;
  const apart = Math.max(...weights.map((weight, i) => Math.abs(weight - exact[i]!)));
  for (let step = 1; step <= 30; step++) {
    await trainer.accumulate(batch, 1);
    await trainer.step(rate, 1e9);
    const bias = (await trainer.weights())["conv_out.bias"]!;
    const row = [4 * step, 4 * step + 4] as const;
    const values = Array.from(await bias.toArray(), Number);
    if (optimizer === "lion_8bit" || step <= 8) expectClose(values, weights.slice(...row), 1e-4);
    const distances = exact.slice(...row).map((x, i) => Math.abs(values[i]! - x));
    expect(Math.max(...distances)).toBeLessThan(1e-4 + 1.5 * apart);
  }
  expect(Math.abs(weights.at(-1)! - weights[3]!)).toBeGreaterThan(0.01);
});

async function copiedUNet(): Promise<UNet2DConditionModel> {
  const place = folder.at(`unet-${copies++}`);
  cpSync(`${fixture("script-full", "base")}/unet`, place, { recursive: true });
  return UNet2DConditionModel.fromPretrained(place);
}
let copies = 0;

test.each(["prodigy", "lion_8bit"] as const)("%s stops and resumes to the same bits", async (optimizer) => {
  const more: Partial<TrainInput> = {
    ...{ optimizer, learningRate: optimizer === "prodigy" ? 1 : 1e-4, checkpointingSteps: 3, maxTrainSteps: 6 },
    ...{ snrGamma: 5, noiseOffset: 0.1, inputPerturbation: 0.1, lossType: "huber" },
    ...{ conditioningDropoutProb: undefined, textDropoutProb: 0.2, imageDropoutProb: 0.1 },
  };
  await trained(tinyOptions(folder.at(`${optimizer}-whole`), more));
  await stoppedAfter(4, tinyOptions(folder.at(`${optimizer}-parts`), more));
  await trained(tinyOptions(folder.at(`${optimizer}-parts`), { ...more, resumeFromCheckpoint: "latest" }));
  expect(fingerprint(folder.at(`${optimizer}-parts`, "checkpoint-6"))).toEqual(
    fingerprint(folder.at(`${optimizer}-whole`, "checkpoint-6")),
  );
});

test("zero terminal SNR needs the velocity, and the saved scheduler begins where nothing is left of the image", async () => {
  const refused = await watch(tinyOptions(folder.at("epsilon"), { zeroTerminalSnr: true, maxTrainSteps: 1 }));
  expect(expectError(refused, "ERR_CONFIG")).toMatch(/predictionType must be "v_prediction"/);
  const more = { zeroTerminalSnr: true, predictionType: "v_prediction", maxTrainSteps: 1 } as const;
  await trained(tinyOptions(folder.at("zero"), more));
  using pipe = await InstructPix2PixPipeline.fromPretrained(folder.at("zero"), { device: "cpu" });
  expect(pipe.scheduler.config).toMatchObject({
    ...{ prediction_type: "v_prediction", rescale_betas_zero_snr: true, timestep_spacing: "trailing" },
  });
});

test("with check everything is read, and nothing is trained or written", async () => {
  const events: string[] = [];
  const seen = await watch(tinyOptions(folder.at("checked"), { check: true }));
  for (const event of seen.events) events.push(event.type);
  expect(seen.result).toMatchObject({ step: 0, skippedRows: 0 });
  expect(events.filter((type) => type === "checking").length).toBeGreaterThan(3);
  expect(seen.records).toEqual([]);
  expect(existsSync(folder.at("checked"))).toBe(false);
});

test.each([
  [{ conditioningDropoutProb: 0.1, textDropoutProb: 0.1 }, /leave it out/],
  [{ conditioningDropoutProb: undefined, textDropoutProb: 0.6, bothDropoutProb: 0.6 }, /more than 1/],
  [{ optimizer: "prodigy", use8bitAdam: true }, /use8bitAdam/],
  [{ optimizer: "prodigy", shardOptimizer: true }, /shardOptimizer .* prodigy/],
  [{ lora: true, loraDropout: 0.1, shardOptimizer: true }, /shardOptimizer .* loraDropout/],
  [{ optimizer: "lion_8bit", weightsDtype: "bf16" }, /adamw only/],
  [{ compat: "diffusers", snrGamma: 5 }, /compat does not cover snrGamma/],
] as const)("%o is refused", async (more, message) => {
  const seen = await watch(tinyOptions(folder.at("refused"), more as Partial<TrainInput>));
  expect(expectError(seen, "ERR_INVALID_ARGUMENT")).toMatch(message);
});
