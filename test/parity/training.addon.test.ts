import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import type { AttentionBackend } from "../../lib/runtime/contract/index.js";
import { DDPMScheduler } from "../../lib/schedulers/ddpm.js";
import type { Draws } from "../../lib/training/draws.js";
import { prepareMicroBatch } from "../../lib/training/recipes/edit/micro-batch.js";
import { Trainer } from "../../lib/training/trainer.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const TOLERANCE = 1e-5;

interface TrainCase {
  lr: number;
  dropout: number;
  steps: number;
  accumulation: number;
  max_grad_norm: number;
  prediction_type?: "v_prediction";
  parameter_names: string[];
}

async function norm(tensor: Tensor): Promise<number> {
  let sum = 0;
  for (const x of await tensor.toArray()) sum += Number(x) ** 2;
  return Math.sqrt(sum);
}

async function numbers(tensor: Tensor): Promise<number[]> {
  return Array.from(await tensor.toArray(), Number);
}

const variants: { gradientCheckpointing: boolean; attention: AttentionBackend }[] = [
  { gradientCheckpointing: false, attention: "auto" },
  { gradientCheckpointing: true, attention: "auto" },
  { gradientCheckpointing: false, attention: "math" },
];

describe.each(["ip2p-tiny", "ip2p-linear-v"])("training %s with recorded draws gives diffusers' numbers", (name) => {
  const { train } = readJson<{ train: TrainCase }>(fixture(name, "case.json"));
  const model = fixture(name, "model");
  let recorded: Record<string, Tensor>;
  let vae: AutoencoderKL;
  let text: CLIPTextModel;
  beforeAll(async () => {
    recorded = await loadSafetensors(fixture(name, "expected.safetensors"));
    vae = await AutoencoderKL.fromPretrained(join(model, "vae"));
    text = await CLIPTextModel.fromPretrained(join(model, "text_encoder"));
  });
  afterAll(() => {
    vae.dispose();
    text.dispose();
  });

  const at = (key: string): Tensor => {
    const tensor = recorded[`train.${key}`];
    if (!tensor) throw new Error(`train.${key} was not recorded`);
    return tensor;
  };

  const recordedDraws = (prefix: string): Draws => ({
    posteriorNoise: () => at(`${prefix}.posterior_noise`).clone(),
    normal: () => Promise.reject(new Error("no recipe is on")),
    noise: () => at(`${prefix}.noise`).clone(),
    timesteps: () => at(`${prefix}.timesteps`).clone(),
    dropout: () => numbers(at(`${prefix}.random_p`)),
  });

  test.each(variants)("checkpointing $gradientCheckpointing, attention $attention", async (variant) => {
    const { gradientCheckpointing, attention } = variant;
    using unet = await UNet2DConditionModel.fromPretrained(join(model, "unet"), { attention });
    using trainer = await Trainer.create(unet, {
      adamBeta1: 0.9,
      adamBeta2: 0.999,
      adamEpsilon: 1e-8,
      adamWeightDecay: 1e-2,
      optimizer: "adamw",
      useEma: true,
      gradientCheckpointing,
      shadowWeights: false,
      mixedPrecision: null,
    });
    const scheduler = DDPMScheduler.fromConfig(readJson(join(model, "scheduler/scheduler_config.json")));
    const { lastHiddenState: nullText } = await text.forward(at("null_input_ids"));
    const settings = {
      scheduler,
      predictionType: train.prediction_type ?? "epsilon",
      scalingFactor: vae.config.scaling_factor,
      dropout: { text: train.dropout, image: train.dropout, both: train.dropout },
      nullText: { embeddings: nullText },
    } as const;

    const losses: number[] = [];
    const norms: number[] = [];
    for (let step = 0; step < train.steps; step++) {
      for (let micro = 0; micro < train.accumulation; micro++) {
        const prefix = `${step}.${micro}`;
        using edited = await vae.encode(at(`${prefix}.edited`));
        using original = await vae.encode(at(`${prefix}.original`));
        const { lastHiddenState } = await text.forward(at(`${prefix}.input_ids`));
        const batch = { edited, original: { mean: original.mean }, text: { embeddings: lastHiddenState } };
        const prepared = await prepareMicroBatch(batch, recordedDraws(prefix), settings);
        losses.push(await (await trainer.accumulate(prepared, 1 / train.accumulation)).item());
      }
      if (step === 0) {
        const gradients = await trainer.gradients();
        const keys = Object.keys(recorded).filter((key) => key.startsWith("train.grad0."));
        expect(keys.length).toBeGreaterThan(0);
        for (const key of keys) {
          const { relative } = await deviation(gradients[key.slice("train.grad0.".length)]!, recorded[key]!);
          expect(relative, key).toBeLessThan(TOLERANCE);
        }
      }
      norms.push((await trainer.step(train.lr, train.max_grad_norm)).gradNorm);
      // EMAModel counts from the second step: the first one copies.
      await trainer.updateEma(step === 0 ? 0 : Math.min(0.9999, (1 + step) / (10 + step)));
    }

    const expectedLosses = await numbers(at("losses"));
    for (const [i, loss] of losses.entries())
      expect(Math.abs(loss / expectedLosses[i]! - 1), `loss ${i}`).toBeLessThan(TOLERANCE);
    const expectedNorms = await numbers(at("grad_norms"));
    for (const [i, value] of norms.entries())
      expect(Math.abs(value / expectedNorms[i]! - 1), `norm ${i}`).toBeLessThan(TOLERANCE);

    for (const [which, state] of [
      ["final", await unet.stateDict()],
      ["ema", await trainer.emaState()],
    ] as const) {
      const expected = await numbers(at(`${which}_norms`));
      for (const [i, parameter] of train.parameter_names.entries()) {
        const actual = await norm(state[parameter]!);
        expect(Math.abs(actual / expected[i]! - 1), `${which} ${parameter}`).toBeLessThan(TOLERANCE);
      }
      for (const key of Object.keys(recorded).filter((k) => k.startsWith(`train.${which}.`))) {
        const { relative } = await deviation(state[key.slice(`train.${which}.`.length)]!, recorded[key]!);
        // Adam moves an element whose gradient is all rounding by a full step in either direction, so single elements
        // are compared less closely than norms.
        expect(relative, key).toBeLessThan(1e-3);
      }
    }
  });
});
