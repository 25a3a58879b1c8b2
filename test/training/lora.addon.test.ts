import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, loadSafetensorsWithMetadata } from "../../lib/files/safetensors.js";
import { InstructPix2PixPipeline, RgbImage, StableDiffusionXLInstructPix2PixPipeline } from "../../lib/index.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { restoreTensors } from "../../lib/training/named-tensors.js";
import type { TrainInput } from "../../lib/training/train-input.js";
import { addAdapter, Trainer } from "../../lib/training/trainer.js";
import { fixture } from "../helpers/fixtures.js";
import {
  expectError,
  fingerprint,
  stoppedAfter,
  TemporaryFolder,
  tinyBase,
  tinyOptions,
  trained,
  watch,
} from "./reliability/tiny-run.js";

/** An InstructPix2Pix model, whose UNet takes an image. */
const editor = fixture("ip2p-tiny", "model");
const xl = fixture("sdxl-ip2p", "model");
const picture = new RgbImage(
  32,
  32,
  Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) => (i * 7) % 256),
);

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

const options = (name: string, more: Partial<TrainInput> = {}): TrainInput =>
  tinyOptions(folder.at(name), { lora: true, rank: 3, learningRate: 1e-2, maxTrainSteps: 6, ...more });

type PipelineClass = typeof InstructPix2PixPipeline | typeof StableDiffusionXLInstructPix2PixPipeline;

async function edited(place: string, lora?: string, Class: PipelineClass = InstructPix2PixPipeline): Promise<RgbImage> {
  using pipe = await (Class as typeof InstructPix2PixPipeline).fromPretrained(place, { device: "cpu" });
  if (lora !== undefined) await pipe.loadLoraWeights(lora);
  const size = Class === InstructPix2PixPipeline ? {} : { height: 32, width: 32 };
  const { images } = await pipe.run({ image: picture, prompt: "make it snow", numInferenceSteps: 2, seed: 1, ...size });
  return images[0]!;
}

async function hashes(file: string): Promise<Record<string, string>> {
  const tensors = await loadSafetensors(file);
  const entries = await Promise.all(
    Object.entries(tensors).map(async ([name, tensor]) => [name, (await tensor.toArray()).join()] as const),
  );
  return Object.fromEntries(entries);
}

describe("a LoRA of a model that takes an image", () => {
  test("leaves the base model's weights, is loaded on top of it or through its own folder, and stops and resumes to the same bits", async () => {
    const more: Partial<TrainInput> = {
      pretrainedModelNameOrPath: editor,
      ...{ checkpointingSteps: 2, loraDropout: 0.2, loraAlpha: 6, trainTextEncoder: true },
    };
    await trained(options("whole", more));
    const file = folder.at("whole", "pytorch_lora_weights.safetensors");
    const { tensors, metadata } = await loadSafetensorsWithMetadata(file);
    const names = Object.keys(tensors);
    expect(names.every((name) => /^(unet|text_encoder\.text_model)\..*\.lora_[AB]\.weight$/.test(name))).toBe(true);
    expect(names.some((name) => name.startsWith("text_encoder."))).toBe(true);
    expect(JSON.parse(metadata!.lora_adapter_metadata!)).toMatchObject({ "unet.r": 3, "unet.lora_alpha": 6 });
    for (const name of ["unet", "vae", "conv_in.safetensors"]) expect(existsSync(folder.at("whole", name))).toBe(false);

    const plain = await edited(editor);
    const adapted = await edited(editor, folder.at("whole"));
    expect(adapted.equals(plain)).toBe(false);
    expect((await edited(folder.at("whole"))).equals(adapted)).toBe(true);
    // The last checkpoint has the average that is saved in the end.
    expect((await edited(folder.at("whole", "checkpoint-6"))).equals(adapted)).toBe(true);

    await stoppedAfter(3, options("parts", more));
    await trained(options("parts", { ...more, resumeFromCheckpoint: "latest" }));
    expect(fingerprint(folder.at("parts", "checkpoint-6"))).toEqual(fingerprint(folder.at("whole", "checkpoint-6")));

    const other = expectError(
      await watch(options("parts", { ...more, rank: 4, resumeFromCheckpoint: "latest" })),
      "ERR_CONFIG",
    );
    expect(other).toMatch(/rank was 3 and is 4/);
  });

  test("kohya's names give the same edits, and validation changes nothing", async () => {
    const more = { pretrainedModelNameOrPath: editor, useEma: false, loraAlpha: 2, maxTrainSteps: 2 } as const;
    await picture.save(folder.at("picture.png"));
    const validation = { valImageUrl: folder.at("picture.png"), validationPrompt: "make it snow" };
    const seen = await trained(options("peft", { ...more, ...validation, numValidationImages: 1 }));
    expect(seen.warnings).toEqual([]);
    expect(existsSync(folder.at("peft", "validation", "step-000002", "0.png"))).toBe(true);
    await trained(options("kohya", { ...more, loraFormat: "kohya" }));
    const names = Object.keys(await loadSafetensors(folder.at("kohya", "pytorch_lora_weights.safetensors")));
    expect(names.every((name) => /^lora_unet_\w+\.(lora_down\.weight|lora_up\.weight|alpha)$/.test(name))).toBe(true);
    const [a, b] = [await edited(editor, folder.at("peft")), await edited(editor, folder.at("kohya"))];
    expect(a.equals(b)).toBe(true);
    expect(a.equals(await edited(editor))).toBe(false);
  });

  test("a model that trains keeps fewer gradients and moments, and its weights", async () => {
    mkdirSync(folder.at("copy"));
    cpSync(`${editor}/unet`, folder.at("copy"), { recursive: true });
    using unet = await UNet2DConditionModel.fromPretrained(folder.at("copy"));
    const before = await unet.stateDict();
    const values = async () =>
      Object.fromEntries(
        await Promise.all(
          Object.entries(before).map(async ([name, tensor]) => [name, (await tensor.toArray()).join()] as const),
        ),
      );
    const original = await values();
    const layers = ["mid_block.attentions.0.transformer_blocks.0.attn1.to_q", "down_blocks.0.resnets.0.conv1"];
    await addAdapter(unet, { layers, rank: 2, alpha: 4, dropout: 0 }, new Generator("cpu", 0));
    using trainer = await Trainer.create(unet, TRAINER, {}, true);
    const names = layers.flatMap((layer) => [`${layer}.lora_A.weight`, `${layer}.lora_B.weight`]).sort();
    const batch = await batchFor(unet);
    await trainer.accumulate(batch, 1);
    expect(Object.keys(await trainer.gradients()).sort()).toEqual(names);
    await trainer.step(1e-2, 1);
    expect(Object.keys(await trainer.optimizerState()).sort()).toEqual(
      ["step", ...names.flatMap((name) => [`exp_avg.${name}`, `exp_avg_sq.${name}`])].sort(),
    );
    expect(await values()).toEqual(original);
  });
});

const TRAINER = {
  ...{ adamBeta1: 0.9, adamBeta2: 0.999, adamEpsilon: 1e-8, adamWeightDecay: 1e-2 },
  ...{ useEma: false, gradientCheckpointing: false, shadowWeights: false, mixedPrecision: null },
} as const;

async function batchFor(unet: UNet2DConditionModel) {
  const generator = new Generator("cpu", 3);
  return {
    sample: await Tensor.randn([2, 8, 8, 8], { generator }),
    timesteps: await Tensor.randint(0, 1000, [2], { generator }),
    conditions: { embeddings: await Tensor.randn([2, 7, unet.config.cross_attention_dim as number], { generator }) },
    target: await Tensor.randn([2, 4, 8, 8], { generator }),
  };
}

test.each([null, "bfloat16"] as const)(
  "gradient checkpointing reaches adapters behind nothing but frozen weights, with dropout; precision %s",
  async (mixedPrecision) => {
    const gradients = [];
    for (const gradientCheckpointing of [false, true]) {
      using unet = await UNet2DConditionModel.fromPretrained(`${editor}/unet`);
      const layers = ["down_blocks.0.resnets.0.conv1", "up_blocks.0.resnets.0.conv1"];
      await addAdapter(unet, { layers, rank: 2, alpha: 2, dropout: 0.3 }, new Generator("cpu", 0));
      using trainer = await Trainer.create(unet, { ...TRAINER, gradientCheckpointing, mixedPrecision }, {}, true);
      // The second factors are zero at first, and then the first ones get no gradients.
      const weights = await trainer.weights();
      const generator = new Generator("cpu", 4);
      const random: Record<string, Tensor> = {};
      for (const [name, { shape }] of Object.entries(weights)) random[name] = await Tensor.randn(shape, { generator });
      await restoreTensors(weights, random, "the factors");
      await trainer.accumulate(await batchFor(unet), 1);
      const found: Record<string, number[]> = {};
      for (const [name, tensor] of Object.entries(await trainer.gradients()))
        found[name] = Array.from(await tensor.toArray(), Number);
      gradients.push(found);
    }
    const [kept, again] = gradients as [Record<string, number[]>, Record<string, number[]>];
    expect(Object.keys(kept)).toHaveLength(4);
    expect(Object.keys(again)).toEqual(Object.keys(kept));
    for (const [name, values] of Object.entries(kept)) {
      const size = Math.hypot(...values);
      expect(size).toBeGreaterThan(0);
      const difference = Math.hypot(...values.map((x, i) => x - again[name]![i]!));
      expect(difference / size).toBeLessThan(mixedPrecision ? 2e-2 : 1e-5);
    }
  },
);

test("of a model that takes no image the first convolution is trained in full and kept beside the LoRA", async () => {
  await trained(options("extended", { checkpointingSteps: 3, useEma: false }));
  const convIn = await loadSafetensors(folder.at("extended", "conv_in.safetensors"));
  expect(convIn["conv_in.weight"]!.shape[1]).toBe(8);
  const base = await loadSafetensors(`${tinyBase}/unet/diffusion_pytorch_model.safetensors`);
  const [before, after] = [base["conv_in.bias"]!, convIn["conv_in.bias"]!];
  const distance = ((await before.toArray()) as Float32Array).map((x, i) => Math.abs(x - Number(i)));
  expect(distance.length).toBe(after.shape[0]);
  expect((await after.toArray()).join()).not.toBe((await before.toArray()).join());
  // What training adds to the bias is small: it began with the base model's.
  const [a, b] = [await before.toArray(), await after.toArray()];
  for (const [i, x] of Array.from(a, Number).entries()) expect(Math.abs(Number(b[i]) - x)).toBeLessThan(0.2);
  const names = Object.keys(await loadSafetensors(folder.at("extended", "pytorch_lora_weights.safetensors")));
  expect(names.some((name) => name.includes("conv_in"))).toBe(false);

  const adapted = await edited(folder.at("extended"));
  expect((await edited(folder.at("extended", "checkpoint-6"))).equals(adapted)).toBe(true);
  expect((await edited(folder.at("extended", "checkpoint-3"))).equals(adapted)).toBe(false);
  await stoppedAfter(4, options("extended-parts", { checkpointingSteps: 3, useEma: false }));
  await trained(options("extended-parts", { checkpointingSteps: 3, useEma: false, resumeFromCheckpoint: "latest" }));
  expect(await hashes(folder.at("extended-parts", "conv_in.safetensors"))).toEqual(
    await hashes(folder.at("extended", "conv_in.safetensors")),
  );
  const card = readFileSync(folder.at("extended", "README.md"), "utf8");
  expect(card).toContain("conv_in.safetensors");
});

test("a LoRA of Stable Diffusion XL, in both formats, with latents cached", async () => {
  const more = {
    pretrainedModelNameOrPath: xl,
    // With conditioning dropout the folder's own settings encode an empty prompt, where the base model has zeros.
    ...{ cacheLatents: true, useEma: false, maxTrainSteps: 2, conditioningDropoutProb: 0 },
  } as const;
  await trained(options("xl", more));
  await trained(options("xl-kohya", { ...more, loraFormat: "kohya" }));
  const Class = StableDiffusionXLInstructPix2PixPipeline;
  const adapted = await edited(xl, folder.at("xl"), Class);
  expect(adapted.equals(await edited(xl, undefined, Class))).toBe(false);
  expect((await edited(xl, folder.at("xl-kohya"), Class)).equals(adapted)).toBe(true);
  expect((await edited(folder.at("xl"), undefined, Class)).equals(adapted)).toBe(true);
});

test("of Stable Diffusion XL with its text encoders, which stops and resumes to the same bits", async () => {
  const more = {
    pretrainedModelNameOrPath: xl,
    ...{ trainTextEncoder: true, cacheLatents: true, maxTrainSteps: 4, checkpointingSteps: 2 },
  } as const;
  await trained(options("xl-text", more));
  await trained(options("xl-text-kohya", { ...more, loraFormat: "kohya" }));
  const names = Object.keys(await loadSafetensors(folder.at("xl-text", "pytorch_lora_weights.safetensors")));
  for (const component of ["unet", "text_encoder", "text_encoder_2"])
    expect(names.filter((name) => name.startsWith(`${component}.`)).length).toBeGreaterThan(3);
  const Class = StableDiffusionXLInstructPix2PixPipeline;
  const adapted = await edited(folder.at("xl-text"), undefined, Class);
  expect((await edited(folder.at("xl-text-kohya"), undefined, Class)).equals(adapted)).toBe(true);
  expect((await edited(folder.at("xl-text", "checkpoint-2"), undefined, Class)).equals(adapted)).toBe(false);

  await stoppedAfter(3, options("xl-text-parts", more));
  await trained(options("xl-text-parts", { ...more, resumeFromCheckpoint: "latest" }));
  expect(fingerprint(folder.at("xl-text-parts", "checkpoint-4"))).toEqual(
    fingerprint(folder.at("xl-text", "checkpoint-4")),
  );
});

test.each([
  ["rank without a LoRA", { lora: false, rank: 8 }, /rank is for a LoRA/],
  ["a target that no layer has", { loraTargets: "to_q,nonsense" }, undefined],
  ["no layer at all", { loraTargets: "nonsense" }, /nonsense/],
  ["an empty target", { loraTargets: "to_q,," }, /empty name/],
  ["shadow weights", { shadowWeights: true, mixedPrecision: "bf16" }, /shadowWeights/],
  ["compat with a model that takes no image", { compat: "diffusers", useEma: false }, /takes no image/],
] as const)("%s is refused before training", async (_, more, message) => {
  const seen = await watch(options("refused", { maxTrainSteps: 1, ...(more as Partial<TrainInput>) }));
  if (message) expect(expectError(seen, "ERR_INVALID_ARGUMENT")).toMatch(message);
  else expectError(seen, "ERR_INVALID_ARGUMENT");
});
