import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readSafetensorsHeader } from "../../lib/files/safetensors.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../lib/index.js";
import { native } from "../../lib/runtime/native.js";
import type { TrainInput } from "../../lib/training/train-input.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { writeXLFile } from "../single-file/make-xl.js";
import {
  expectError,
  finalWeights,
  fingerprint,
  metrics,
  stoppedAfter,
  TemporaryFolder,
  tinyBase,
  tinyOptions,
  trained,
  watch,
} from "./reliability/tiny-run.js";

const base = fixture("sdxl-script-full", "base");
const picture = fixture("sdxl-script-full", "dataset/images/000_a.png");

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

/** Ten pairs in batches of four: the last of an epoch has two, and its window one batch. */
const options = (name: string, more: Partial<TrainInput> = {}): TrainInput =>
  tinyOptions(folder.at(name), {
    pretrainedModelNameOrPath: base,
    trainDataDir: fixture("sdxl-script-full", "dataset"),
    trainBatchSize: 4,
    cropsCoordsTopLeftH: 3,
    maxTrainSteps: 4,
    ...more,
  });

describe("an SDXL base model", () => {
  test("is trained, validated every so many steps, resumed bit for bit, and saved as the pipeline that edits", async () => {
    const validation = {
      valImageUrlOrPath: picture,
      validationPrompt: "make it snow",
      numValidationImages: 1,
      validationSteps: 3,
    };
    const whole = await trained(options("whole", { ...validation, checkpointingSteps: 4 }));
    expect(whole.events.flatMap((event) => (event.type === "validation" ? [event.step] : []))).toEqual([3, 4]);
    await stoppedAfter(3, options("resumed", validation));
    await trained(options("resumed", { ...validation, checkpointingSteps: 4, resumeFromCheckpoint: "latest" }));
    expect(finalWeights(folder.at("resumed"))).toBe(finalWeights(folder.at("whole")));
    expect(fingerprint(folder.at("resumed", "checkpoint-4"))).toEqual(fingerprint(folder.at("whole", "checkpoint-4")));
    const losses = (name: string) => metrics(folder.at(name)).map(({ train_loss }) => train_loss);
    expect(losses("resumed")).toEqual(losses("whole"));

    const index = readJson<Record<string, unknown>>(folder.at("whole", "model_index.json"));
    expect(index).toEqual({
      ...readJson<{ model_index: object }>(fixture("sdxl-script-full", "case.json")).model_index,
      _diffusers_version: index._diffusers_version,
      // The empty prompt was trained, and not zeros.
      force_zeros_for_empty_prompt: false,
    });
    for (const part of ["text_encoder/model.safetensors", "text_encoder_2/model.safetensors", "tokenizer_2/vocab.json"])
      expect(readFileSync(folder.at("whole", part)).equals(readFileSync(join(base, part))), part).toBe(true);
    expect(readFileSync(folder.at("whole", "README.md"), "utf8")).toMatch(/StableDiffusionXLInstructPix2PixPipeline/);
    using pipe = await StableDiffusionXLInstructPix2PixPipeline.fromPretrained(folder.at("whole"));
    const { images } = await pipe.run({ image: picture, prompt: "make it snow", numInferenceSteps: 2, seed: 1 });
    expect([images[0]!.width, images[0]!.height]).toEqual([32, 32]);
  });

  test("with cached latents it has the same losses, the same bits with a cache found, and its encoders leave memory", async () => {
    const more = { useEma: false, maxTrainSteps: 3, conditioningDropoutProb: 0.3 };
    const cache = { cacheLatents: true, cacheDir: folder.at("cache") };
    await trained(options("plain", more));
    const loads = vi.spyOn(native(), "loadModel");
    await trained(options("cached", { ...more, ...cache }));
    const kinds = loads.mock.calls.map(([kind]) => kind);
    const handles = await Promise.all(loads.mock.results.map(({ value }) => value as Promise<{ disposed: boolean }>));
    loads.mockRestore();
    expect(kinds.sort()).toEqual([
      "AutoencoderKL",
      "CLIPTextModel",
      "CLIPTextModelWithProjection",
      "UNet2DConditionModel",
    ]);
    expect(handles.every(({ disposed }) => disposed)).toBe(true);
    const losses = (name: string) => metrics(folder.at(name)).map(({ train_loss }) => train_loss!);
    for (const [i, loss] of losses("cached").entries())
      expect(Math.abs(loss / losses("plain")[i]! - 1)).toBeLessThan(1e-5);
    // As a resumed run does.
    await trained(options("found", { ...more, ...cache }));
    expect(finalWeights(folder.at("found"))).toBe(finalWeights(folder.at("cached")));
  });

  test("with bfloat16 weights resumes bit for bit, and is saved as it was trained", async () => {
    const more: Partial<TrainInput> = {
      ...{ weightsDtype: "bf16", mixedPrecision: "bf16", use8bitAdam: true, gradientCheckpointing: true },
      ...{ cacheLatents: true, useEma: false, maxTrainSteps: 3, checkpointingSteps: 3 },
      ...{ valImageUrlOrPath: picture, validationPrompt: "make it snow", numValidationImages: 1, validationSteps: 2 },
    };
    await trained(options("narrow", more));
    await stoppedAfter(2, options("narrow-resumed", more));
    await trained(options("narrow-resumed", { ...more, resumeFromCheckpoint: "latest" }));
    expect(finalWeights(folder.at("narrow-resumed"))).toBe(finalWeights(folder.at("narrow")));
    expect(fingerprint(folder.at("narrow-resumed", "checkpoint-3"))).toEqual(
      fingerprint(folder.at("narrow", "checkpoint-3")),
    );
    const header = await readSafetensorsHeader(folder.at("narrow", "unet", "diffusion_pytorch_model.safetensors"));
    expect(new Set([...header.values()].map(({ dtype }) => dtype))).toEqual(new Set(["BF16", "F32"]));
    using pipe = await StableDiffusionXLInstructPix2PixPipeline.fromPretrained(folder.at("narrow"));
    const { images } = await pipe.run({ image: picture, prompt: "make it snow", numInferenceSteps: 2, seed: 1 });
    expect(new Set(images[0]!.data).size).toBeGreaterThan(10);
  });

  test("in a single file trains to the same bits, and is saved as a folder", async () => {
    const file = await writeXLFile(folder.at("base.safetensors"), base);
    const single = { pretrainedModelNameOrPath: file, config: base };
    const more = { useEma: false, maxTrainSteps: 2, cacheLatents: true, conditioningDropoutProb: 0.2 };
    const [one, other] = [
      await trained(options("of-folder", more)),
      await trained(options("of-file", { ...more, ...single })),
    ];
    expect(other.records.map(({ trainLoss }) => trainLoss)).toEqual(one.records.map(({ trainLoss }) => trainLoss));
    expect(finalWeights(folder.at("of-file"))).toBe(finalWeights(folder.at("of-folder")));
    expect(readJson(folder.at("of-file", "model_index.json"))).toEqual(
      readJson(folder.at("of-folder", "model_index.json")),
    );
    const run = { image: picture, prompt: "make it snow", numInferenceSteps: 2, seed: 1 };
    const pixels = async (name: string) => {
      using pipe = await StableDiffusionXLInstructPix2PixPipeline.fromPretrained(folder.at(name));
      return (await pipe.run(run)).images[0]!.data;
    };
    expect(await pixels("of-file")).toEqual(await pixels("of-folder"));
  });

  test("takes another autoencoder, in the precision asked for, and saves it", async () => {
    const other = fixture("sdxl-script-basic", "base/vae");
    const vae = { pretrainedVaeModelNameOrPath: other, vaePrecision: "bf16" as const };
    await trained(options("vae", { ...vae, mixedPrecision: "bf16", maxTrainSteps: 1 }));
    const file = "diffusion_pytorch_model.safetensors";
    expect(readFileSync(folder.at("vae", "vae", file)).equals(readFileSync(join(other, file)))).toBe(true);
  });

  test("logs the mean loss of a window that the epoch's end cuts short; with compat its sum over the full count", async () => {
    // One batch in a window of two.
    const more = { useEma: false, trainBatchSize: 10, maxTrainSteps: 1, randomFlip: false };
    const [own, script] = [
      await trained(options("short", more)),
      await trained(options("short-compat", { ...more, compat: "diffusers" })),
    ];
    expect(own.records[0]!.trainLoss / script.records[0]!.trainLoss).toBeGreaterThan(1.5);
  });
});

describe("options", () => {
  test.each<[string, Partial<TrainInput>, RegExp]>([
    ["by the other script's name", { valImageUrl: "x.png" }, /^valImageUrl .*; give valImageUrlOrPath$/],
    ["without their other half", { validationPrompt: "x" }, /^validation needs both valImageUrlOrPath and/],
  ])("%s are refused for an SDXL base model", async (_, more, message) => {
    expect(expectError(await watch(options("refused", more)), "ERR_INVALID_ARGUMENT")).toMatch(message);
    expect(existsSync(folder.at("refused"))).toBe(false);
  });

  test.each<[Partial<TrainInput>, RegExp]>([
    [
      { vaePrecision: "bf16" },
      /^vaePrecision is for Stable Diffusion XL models, but the base model is one of Stable Diff/,
    ],
    [{ validationSteps: 5 }, /^validationSteps .*; give validationEpochs$/],
  ])("%o are refused for a Stable Diffusion base model", async (more, message) => {
    const given = options("refused", { pretrainedModelNameOrPath: tinyBase, cropsCoordsTopLeftH: 0, ...more });
    expect(expectError(await watch(given), "ERR_INVALID_ARGUMENT")).toMatch(message);
  });

  test("options for repositories are refused with a single file", async () => {
    const single = { pretrainedModelNameOrPath: await writeXLFile(folder.at("some.safetensors"), base) };
    expect(
      expectError(await watch(options("refused", { ...single, variant: "fp16" })), "ERR_INVALID_ARGUMENT"),
    ).toMatch(/^variant chooses among weights of a repository, but the model is a file$/);
    const seen = await watch(options("refused", { config: base }));
    expect(expectError(seen, "ERR_INVALID_ARGUMENT")).toMatch(/^config is for a model in a single file/);
  });

  test("a model of EDM's noise levels cannot be trained", async () => {
    cpSync(base, folder.at("cosxl"), { recursive: true });
    const index = folder.at("cosxl", "model_index.json");
    writeFileSync(index, JSON.stringify({ ...readJson<object>(index), scheduler: ["diffusers", "EDMEulerScheduler"] }));
    const config = { _class_name: "EDMEulerScheduler", prediction_type: "v_prediction" };
    writeFileSync(folder.at("cosxl", "scheduler", "scheduler_config.json"), JSON.stringify(config));
    const seen = await watch(options("no-cosxl", { pretrainedModelNameOrPath: folder.at("cosxl") }));
    expect(expectError(seen, "ERR_CONFIG")).toMatch(/scheduler_config\.json: the model takes EDM's noise levels/);
  });

  test("a refiner cannot be trained", async () => {
    cpSync(base, folder.at("refiner"), { recursive: true });
    const index = folder.at("refiner", "model_index.json");
    const parts = { text_encoder: [null, null], tokenizer: [null, null] };
    writeFileSync(index, JSON.stringify({ ...readJson<object>(index), ...parts }));
    const seen = await watch(options("no-refiner", { pretrainedModelNameOrPath: folder.at("refiner") }));
    expect(expectError(seen, "ERR_CONFIG")).toMatch(/refiner/);
    expect(readdirSync(folder.at("no-refiner")).filter((name) => name === "unet")).toEqual([]);
  });
});
