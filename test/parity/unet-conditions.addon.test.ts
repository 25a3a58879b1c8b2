import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { CLIPTextModelWithProjection } from "../../lib/models/clip_text_model_with_projection.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import type { GivenConditions } from "../../lib/models/unet-conditions.js";
import type { TrainerOptions } from "../../lib/training/parameter-trainer.js";
import { Trainer } from "../../lib/training/trainer.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const TOLERANCE = 1e-5;
/** The records are of float64; diffusers itself, in float32, is up to 1.7e-5 away from them, more or less on other processors. */
const OF_ONE_GRADIENT = 3e-5;
const cases = readJson<{ name: string; folder: string }[]>(fixture("unet-conditions", "cases.json"));
const options: TrainerOptions = {
  ...{ adamBeta1: 0.9, adamBeta2: 0.999, adamEpsilon: 1e-8, adamWeightDecay: 1e-2 },
  ...{ optimizer: "adamw", useEma: false, gradientCheckpointing: false, shadowWeights: false, mixedPrecision: null },
};

interface Recorded {
  folder: string;
  tensors: Record<string, Tensor>;
  conditions: GivenConditions;
}

async function load(which: string): Promise<Recorded> {
  const folder = fixture("unet-conditions", which);
  const tensors = await loadSafetensors(join(folder, "expected.safetensors"));
  const residuals = Object.keys(tensors).filter((key) => /^residual\.\d+$/.test(key));
  const conditions: GivenConditions = {
    addedConditions: tensors.text_embeds && { textEmbeds: tensors.text_embeds, timeIds: tensors.time_ids! },
    classLabels: tensors.class_labels,
    timestepCond: tensors.timestep_cond,
    downBlockAdditionalResiduals: residuals.length > 0 ? residuals.map((_, i) => tensors[`residual.${i}`]!) : undefined,
    midBlockAdditionalResidual: tensors["residual.mid"],
  };
  return { folder, tensors, conditions };
}

const numbers = async (tensor: Tensor) => Float64Array.from(await tensor.toArray(), Number);
const norm = (values: Float64Array) => Math.hypot(...values);

describe.each(cases)("a UNet with $name", ({ folder: which }) => {
  test("predicts what diffusers predicts", async () => {
    const { folder, tensors, conditions } = await load(which);
    for (const attention of ["auto", "math"] as const) {
      using model = await UNet2DConditionModel.fromPretrained(folder, { attention });
      using out = await model.forward(tensors.sample!, tensors.timesteps!, tensors.context!, conditions);
      expect((await deviation(out, tensors.out!)).relative, attention).toBeLessThan(TOLERANCE);
    }
  });

  test.each([false, true])("has diffusers' gradients (gradient checkpointing %s)", async (gradientCheckpointing) => {
    const { folder, tensors, conditions } = await load(which);
    using model = await UNet2DConditionModel.fromPretrained(folder);
    using trainer = await Trainer.create(model, { ...options, gradientCheckpointing });
    const batch = {
      sample: tensors.sample!,
      timesteps: tensors.timesteps!,
      conditions: { ...conditions, embeddings: tensors.context! },
      target: tensors.target!,
    };
    const loss = await (await trainer.accumulate(batch, 1)).item();
    expect(Math.abs(loss / (await tensors.loss!.item()) - 1)).toBeLessThan(1e-6);
    const gradients = await trainer.gradients();
    const names = Object.keys(tensors).filter((key) => key.startsWith("norm."));
    expect(names.length).toBeGreaterThan(50);
    const norms = await Promise.all(names.map((key) => tensors[key]!.item()));
    const all = Math.hypot(...norms);
    let difference = 0;
    for (const [i, key] of names.entries()) {
      const name = key.slice("norm.".length);
      const ours = gradients[name] ? await numbers(gradients[name]) : Float64Array.of(0);
      // What is small beside the whole is made of large terms that cancel: rounding.
      const scale = Math.max(norms[i]!, 1e-3 * all);
      const whole = tensors[`gradient.${name}`];
      const off = whole && gradients[name] ? norm((await numbers(whole)).map((x, j) => x - ours[j]!)) : 0;
      expect(Math.max(off, Math.abs(norm(ours) - norms[i]!)) / scale, name).toBeLessThan(OF_ONE_GRADIENT);
      difference = Math.hypot(difference, off, norm(ours) - norms[i]!);
    }
    expect(difference / all).toBeLessThan(TOLERANCE);
  });

  test("keeps its weights' names when saved", async () => {
    const { folder } = await load(which);
    using model = await UNet2DConditionModel.fromPretrained(folder);
    const files = await loadSafetensors(join(folder, "diffusion_pytorch_model.safetensors"));
    expect(Object.keys(await model.stateDict()).sort()).toEqual(Object.keys(files).sort());
  });
});

describe("SDXL's networks", () => {
  test("the second text encoder gives what transformers gives, and is saved as it was", async () => {
    const recorded = await loadSafetensors(fixture("sdxl-modules", "expected.safetensors"));
    const at = (name: string) => recorded[`text2.${name}`]!;
    const folder = fixture("sdxl-modules", "text_encoder_2");
    using model = await CLIPTextModelWithProjection.fromPretrained(folder);
    const output = await model.forward(at("input_ids"), { hiddenStates: true });
    for (const [actual, name] of [
      [output.textEmbeds, "text_embeds"],
      [output.lastHiddenState, "last_hidden_state"],
      [output.hiddenStates!.at(-2)!, "hidden_states_m2"],
    ] as const)
      expect((await deviation(actual, at(name))).relative, name).toBeLessThan(TOLERANCE);

    const copy = mkdtempSync(join(tmpdir(), "ip2p-text-"));
    try {
      await model.savePretrained(copy);
      const [before, after] = await Promise.all(
        [folder, copy].map((at) => loadSafetensors(join(at, "model.safetensors"))),
      );
      delete before!["text_model.embeddings.position_ids"]; // not a weight, and not written by newer versions
      expect(Object.keys(after!).sort()).toEqual(Object.keys(before!).sort());
      for (const [name, tensor] of Object.entries(before!)) expect(await after![name]!.equal(tensor), name).toBe(true);
      expect(readJson(join(copy, "config.json"))).toMatchObject({
        architectures: ["CLIPTextModelWithProjection"],
        projection_dim: 32,
      });
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });

  test("the UNet predicts what diffusers predicts", async () => {
    const recorded = await loadSafetensors(fixture("sdxl-modules", "expected.safetensors"));
    const at = (name: string) => recorded[`unet.${name}`]!;
    using model = await UNet2DConditionModel.fromPretrained(fixture("sdxl-modules", "unet"));
    const addedConditions = { textEmbeds: at("text_embeds"), timeIds: at("time_ids") };
    using out = await model.forward(at("sample"), at("timestep"), at("encoder_hidden_states"), { addedConditions });
    expect((await deviation(out, at("out"))).relative).toBeLessThan(TOLERANCE);
  });
});

describe("rows that share a row of the sample", () => {
  test.each(cases)("give the same as rows of their own: $name", async ({ folder: which }) => {
    const { folder, tensors, conditions } = await load(which);
    using model = await UNet2DConditionModel.fromPretrained(folder);
    using sample = await tensors.sample!.slice(0, 0, 1);
    using repeated = await Tensor.cat([sample, sample], 0);
    using apart = await model.forward(repeated, 300, tensors.context!, conditions);
    using together = await model.forward(sample, 300, tensors.context!, { ...conditions, sampleRows: [0, 0] });
    expect((await deviation(together, apart)).relative).toBeLessThan(TOLERANCE);
  });

  test("of which some have equal conditions", async () => {
    const { folder, tensors } = await load("pooled-text-and-sizes");
    using model = await UNet2DConditionModel.fromPretrained(folder);
    const rows = (tensor: Tensor, order: number[]) =>
      Promise.all(order.map((i) => tensor.slice(0, i, i + 1))).then((parts) => Tensor.cat(parts, 0));
    using context = await rows(tensors.context!, [0, 1, 1]);
    for (const order of [
      [0, 0, 1],
      [0, 1, 1],
      [1, 1, 1],
    ]) {
      const addedConditions = {
        textEmbeds: await rows(tensors.text_embeds!, order),
        timeIds: await rows(tensors.time_ids!, order),
      };
      using apart = await model.forward(await rows(tensors.sample!, [1, 1, 0]), 300, context, { addedConditions });
      const shared = { addedConditions, sampleRows: [1, 1, 0] };
      using together = await model.forward(tensors.sample!, 300, context, shared);
      expect((await deviation(together, apart)).relative, `${order}`).toBeLessThan(TOLERANCE);
    }
  });
});
