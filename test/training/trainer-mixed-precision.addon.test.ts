import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { DDPMScheduler } from "../../lib/schedulers/ddpm.js";
import { readMetrics } from "../../lib/training/read-metrics.js";
import { prepareMicroBatch } from "../../lib/training/recipes/edit/micro-batch.js";
import { ip2p, Workplace } from "../cli/run-cli.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { TrainingBench } from "./training-bench.js";

const model = fixture("ip2p-tiny", "model");
const { train } = readJson<{
  train: { lr: number; dropout: number; steps: number; accumulation: number; max_grad_norm: number };
}>(fixture("ip2p-tiny", "case.json"));

let recorded: Record<string, Tensor>;
let vae: AutoencoderKL;
let text: CLIPTextModel;
beforeAll(async () => {
  recorded = await loadSafetensors(fixture("ip2p-tiny", "expected.safetensors"));
  vae = await AutoencoderKL.fromPretrained(join(model, "vae"));
  text = await CLIPTextModel.fromPretrained(join(model, "text_encoder"));
});
afterAll(() => {
  vae.dispose();
  text.dispose();
});

test.each([
  ["bfloat16", 1e-3, 2e-3],
  ["float16", 2e-4, 5e-4],
] as const)("training in %s gives diffusers' losses and gradient norms", async (mixedPrecision, ofLoss, ofNorm) => {
  const expected = readJson<{ losses: number[]; grad_norms: number[] }>(
    fixture("mixed-precision", `${mixedPrecision}.json`),
  );
  using bench = await TrainingBench.open(model, { mixedPrecision });
  const { trainer } = bench;
  const settings = {
    scheduler: DDPMScheduler.fromConfig(readJson(join(model, "scheduler/scheduler_config.json"))),
    predictionType: "epsilon",
    scalingFactor: vae.config.scaling_factor,
    dropout: { text: train.dropout, image: train.dropout, both: train.dropout },
    nullText: { embeddings: (await text.forward(recorded["train.null_input_ids"]!)).lastHiddenState },
  } as const;
  const losses: number[] = [];
  const norms: number[] = [];
  for (let step = 0; step < train.steps; step++) {
    for (let micro = 0; micro < train.accumulation; micro++) {
      const at = (key: string): Tensor => recorded[`train.${step}.${micro}.${key}`]!;
      using edited = await vae.encode(at("edited"));
      using original = await vae.encode(at("original"));
      const { lastHiddenState } = await text.forward(at("input_ids"));
      const batch = await prepareMicroBatch(
        { edited, original: { mean: original.mean }, text: { embeddings: lastHiddenState } },
        {
          posteriorNoise: () => at("posterior_noise").clone(),
          normal: () => Promise.reject(new Error("no recipe is on")),
          noise: () => at("noise").clone(),
          timesteps: () => at("timesteps").clone(),
          dropout: async () => Array.from(await at("random_p").toArray(), Number),
        },
        settings,
      );
      losses.push(await (await trainer.accumulate(batch, 1 / train.accumulation)).item());
    }
    norms.push((await trainer.step(train.lr, train.max_grad_norm)).gradNorm);
  }
  expect(losses).toHaveLength(expected.losses.length);
  expect(Math.max(...losses.map((loss, i) => Math.abs(loss / expected.losses[i]! - 1)))).toBeLessThan(ofLoss);
  expect(Math.max(...norms.map((norm, i) => Math.abs(norm / expected.grad_norms[i]! - 1)))).toBeLessThan(ofNorm);
});

test("without bfloat16 instructions it computes the same in float32", async () => {
  using place = new Workplace();
  const lossesOf = async (output: string, precision: string, IP2P_CPU_CAPABILITY: string) => {
    const { status, stderr } = await ip2p(
      [
        ...["train", "--pretrained_model_name_or_path", fixture("script-full", "base")],
        ...["--train_data_dir", fixture("script-full", "dataset"), "--output_dir", output, "--resolution", "32"],
        ...["--train_batch_size", "2", "--seed", "3", "--max_train_steps", "3", "--mixed_precision", precision],
      ],
      { cwd: place.folder, env: { ...process.env, IP2P_CPU_CAPABILITY } },
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
    return (await readMetrics(place.at(output))).map(({ trainLoss }) => trainLoss);
  };
  const [exact, narrow, widened] = [
    await lossesOf("exact", "no", "avx2"),
    await lossesOf("narrow", "bf16", ""),
    await lossesOf("widened", "bf16", "avx2"),
  ];
  expect(widened).toHaveLength(3);
  expect(widened).not.toEqual(exact);
  for (const [i, loss] of widened.entries()) {
    expect(Math.abs(loss / exact[i]! - 1)).toBeLessThan(5e-3);
    expect(Math.abs(loss / narrow[i]! - 1)).toBeLessThan(5e-3);
  }
});
