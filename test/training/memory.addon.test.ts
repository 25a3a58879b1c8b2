import { existsSync, readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { CLIPTextModelWithProjection } from "../../lib/models/clip_text_model_with_projection.js";
import type { ModelDescription } from "../../lib/models/pretrained.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { resolveOptions } from "../../lib/options/parse.js";
import { native } from "../../lib/runtime/native.js";
import { checkTrainingMemory, type ModelToCount, type RunModels } from "../../lib/training/memory.js";
import { memoryNeeds, totalOf } from "../../lib/training/memory-needs.js";
import { type TrainOptions, trainOptions } from "../../lib/training/options.js";
import type { TrainInput } from "../../lib/training/train-input.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { expectError, TemporaryFolder, tinyOptions, watch } from "./reliability/tiny-run.js";

const GB = 1e9;
/** The published UNets' numbers of weights. */
const SD_UNET = 859_532_484;
const XL_UNET = 2_567_475_204;

function model(description: unknown, source: string, part: string) {
  const { parse } = description as ModelDescription<unknown>;
  const config = parse(readJson(fixture(source, part, "config.json")), part);
  return { description: description as ModelToCount["description"], config };
}

function models(source: string, vaeDType: RunModels["vaeDType"] = "float32"): RunModels {
  const vae = model(AutoencoderKL.description, source, "vae");
  const texts = [model(CLIPTextModel.description, source, "text_encoder")];
  if (source.includes("sdxl")) texts.push(model(CLIPTextModelWithProjection.description, source, "text_encoder_2"));
  return {
    unet: model(UNet2DConditionModel.description, source, "unet").config as RunModels["unet"],
    vae: vae.config as RunModels["vae"],
    vaeDType,
    trained: [],
    frozen: [vae, ...texts].map((part) => ({ ...part, dtype: "float32" })),
  };
}

const XL = models("full-size-sdxl-edit");
const SD = models("full-size");

const options = (more: Partial<TrainInput>): TrainOptions =>
  resolveOptions(trainOptions, { pretrainedModelNameOrPath: "base", trainDataDir: "pairs", ...more });

/** What is said about a run on a machine with so much memory; undefined if it fits. */
async function refusal(run: RunModels, gigabytes: number, more: Partial<TrainInput>): Promise<string | undefined> {
  try {
    await checkTrainingMemory(run, options({ resolution: 256, trainBatchSize: 1, ...more }), gigabytes * GB);
    return undefined;
  } catch (error) {
    if (!isInstructPix2PixError(error, "ERR_OUT_OF_MEMORY")) throw error;
    return error.message;
  }
}

test("weights are counted without making any", async () => {
  for (const [run, count] of [
    [SD, SD_UNET],
    [XL, XL_UNET],
  ] as const) {
    const config = UNet2DConditionModel.description.toNative(run.unet, "");
    const { products, others } = await native().countModelParameters("UNet2DConditionModel", config);
    expect(products + others).toBe(count);
    expect(others).toBeLessThan(count / 500);
  }
});

describe("what training needs", () => {
  const sizes = {
    trained: { products: 1000, others: 10 },
    frozen: 300,
    activations: { kept: 800, checkpointed: 80 },
    encoding: 40,
  };
  const needs = (more: Partial<TrainInput> = {}) => memoryNeeds(sizes, options(more));

  test("is weights, gradients, moments, activations and what is not trained", () => {
    expect(needs()).toEqual({
      ...{ weights: 4040, remainders: 0, moments: 8080, "EMA weights": 0, "averages for later": 0 },
      ...{ gradients: 4040, "copies of weights": 0, "frozen models": 300, activations: 800 },
    });
  });

  test.each<[Partial<TrainInput>, Record<string, number>]>([
    [{ useEma: true }, { "EMA weights": 4040 }],
    [{ postHocEma: true }, { "averages for later": 8080 }],
    [{ gradientCheckpointing: true }, { activations: 80 }],
    [{ mixedPrecision: "bf16" }, { activations: 400 }],
    [{ mixedPrecision: "bf16", shadowWeights: true }, { weights: 6040 }],
    [{ releaseGradients: true }, { gradients: 0, "copies of weights": 0, activations: 800 }],
    [
      { releaseGradients: true, mixedPrecision: "bf16" },
      { gradients: 0, "copies of weights": 2000 },
    ],
    [
      { releaseGradients: true, mixedPrecision: "bf16", gradientCheckpointing: true },
      { gradients: 0, "copies of weights": 0 },
    ],
    [{ use8bitAdam: true }, { moments: 2031.25 + 80 }],
    [{ weightsDtype: "bf16" }, { weights: 2040, gradients: 2040 }],
    [
      { weightsDtype: "bf16", weightsRounding: "compensated" },
      { weights: 2040, remainders: 2000 },
    ],
  ])("with %o", (more, parts) => {
    expect(needs(more)).toMatchObject(parts);
  });

  test("models that are not trained leave memory once everything is cached", () => {
    expect(totalOf(needs()) - totalOf(needs({ cacheLatents: true }))).toBe(300);
  });

  test("is at least what encoding takes before they leave", () => {
    const heavy = memoryNeeds({ ...sizes, frozen: 5000 }, options({ cacheLatents: true }));
    expect(heavy).toMatchObject({ "frozen models": 5000, activations: 40 });
    expect(heavy).not.toHaveProperty("gradients");
  });
});

describe("a run that does not fit is refused with the settings that would", () => {
  const SMALLEST = {
    use8bitAdam: true,
    weightsDtype: "bf16",
    gradientCheckpointing: true,
    cacheLatents: true,
  } as const;

  test.each<[string, RunModels, number, Partial<TrainInput>, RegExp | undefined]>([
    ["Stable Diffusion in 24 GB", SD, 24, {}, undefined],
    ["Stable Diffusion in 12 GB", SD, 12, {}, /; with use8bitAdam it needs 9\.\d GB$/],
    ["Stable Diffusion in 8 GB", SD, 8, {}, /; with .*use8bitAdam and weightsDtype "bf16" it needs [67]\.\d GB$/],
    ["with EMA weights", SD, 16, { useEma: true }, /EMA weights 3\.4.*; with use8bitAdam it needs 1[0-5]\.\d GB$/],
    ["SDXL in 64 GB", XL, 64, {}, undefined],
    [
      "SDXL in 48 GB",
      XL,
      48,
      { useEma: true },
      /^training needs about 5\d\.\d GB of memory \(weights 10\.3, moments 20\.5, EMA weights 10\.3, gradients 10\.3, .*but 48\.0 GB are free; with use8bitAdam/,
    ],
    [
      "SDXL in 24 GB",
      XL,
      24,
      {},
      /; with (gradientCheckpointing, )?use8bitAdam and weightsDtype "bf16" it needs \d\d\.\d GB$/,
    ],
    ["SDXL in 24 GB with every saving", XL, 24, SMALLEST, undefined],
    ["SDXL in 12 GB", XL, 12, SMALLEST, /; even with releaseGradients it needs 1\d\.\d GB: a smaller resolution/],
    [
      "SDXL in 12 GB with released gradients",
      XL,
      12,
      { ...SMALLEST, releaseGradients: true },
      /; every setting that saves memory is on: a smaller resolution/,
    ],
    [
      "SDXL in 12 GB with nothing",
      XL,
      12,
      {},
      /; even with .*use8bitAdam, weightsDtype "bf16" and releaseGradients it needs 1\d\.\d GB: /,
    ],
  ])("%s", async (_, run, gigabytes, more, message) => {
    const said = await refusal(run, gigabytes, more);
    if (message) expect(said).toMatch(message);
    else expect(said).toBeUndefined();
  });

  test("but not with settings that the run cannot have", async () => {
    const said = await refusal(XL, 24, { compat: "diffusers", seed: 1 });
    expect(said).not.toMatch(/; with/);
    expect(said).not.toMatch(/use8bitAdam|weightsDtype/);
  });

  test("what is proposed fits", async () => {
    for (const gigabytes of [10, 14, 18, 22, 30, 40, 50])
      for (const run of [SD, XL]) {
        const said = await refusal(run, gigabytes, { useEma: true, weightsRounding: "compensated" });
        const remedy = /; with (.*) it needs/.exec(said ?? "")?.[1];
        if (remedy === undefined) continue;
        const more: Partial<TrainInput> = {
          useEma: !remedy.includes("without useEma"),
          weightsRounding: remedy.includes("stochastic") ? "stochastic" : "compensated",
          cacheLatents: remedy.includes("cacheLatents"),
          gradientCheckpointing: remedy.includes("gradientCheckpointing"),
          releaseGradients: remedy.includes("releaseGradients"),
          use8bitAdam: remedy.includes("use8bitAdam"),
          weightsDtype: remedy.includes("weightsDtype") ? "bf16" : "fp32",
        };
        expect(await refusal(run, gigabytes, more), `${gigabytes} GB: ${remedy}`).toBeUndefined();
      }
  });
});

describe.each(["script-full", "sdxl-script-full"])("training %s", (name) => {
  let folder: TemporaryFolder;
  beforeAll(() => {
    folder = new TemporaryFolder();
  });
  afterAll(() => folder[Symbol.dispose]());

  test("what memory cannot hold is refused before any model is loaded", async () => {
    const loads = vi.spyOn(native(), "loadModel");
    const base = { pretrainedModelNameOrPath: fixture(name, "base"), trainDataDir: fixture(name, "dataset") };
    const seen = await watch(tinyOptions(folder.at("run"), { ...base, resolution: 1024, trainBatchSize: 10_000 }));
    const count = loads.mock.calls.length;
    loads.mockRestore();
    expect(expectError(seen, "ERR_OUT_OF_MEMORY")).toMatch(
      /^training needs about \d+\.\d GB of memory \(.*activations /,
    );
    expect(count).toBe(0);
    expect(existsSync(folder.at("run")) ? readdirSync(folder.at("run")).filter((file) => file === "unet") : []).toEqual(
      [],
    );
  });
});
