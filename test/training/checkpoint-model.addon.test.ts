import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setLogger } from "../../lib/core/logger.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import {
  DiffusionPipeline,
  InstructPix2PixPipeline,
  RgbImage,
  StableDiffusionXLInstructPix2PixPipeline,
  UNet2DConditionModel,
} from "../../lib/index.js";
import type { TrainInput } from "../../lib/training/train-input.js";
import { ip2pHere } from "../cli/run-cli.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { copyWithChannels, writeWithChannels } from "../single-file/make.js";
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

const xlBase = fixture("sdxl-script-full", "base");
const picture = new RgbImage(
  32,
  32,
  Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) => (i * 7) % 256),
);

let folder: TemporaryFolder;
const warnings: string[] = [];
beforeAll(async () => {
  folder = new TemporaryFolder();
  setLogger({ warn: (message) => warnings.push(message) });
  await picture.save(folder.at("picture.png"));
});
afterAll(() => {
  setLogger(null);
  folder[Symbol.dispose]();
});

/** A run of one step that leaves a checkpoint beside its model. */
const options = (name: string, more: Partial<TrainInput> = {}): TrainInput =>
  tinyOptions(folder.at(name), { maxTrainSteps: 1, checkpointingSteps: 1, gradientAccumulationSteps: 1, ...more });

async function edited(
  place: string,
  Class: typeof InstructPix2PixPipeline | typeof StableDiffusionXLInstructPix2PixPipeline,
) {
  using pipe = await (Class as typeof InstructPix2PixPipeline).fromPretrained(place, { device: "cpu" });
  const size = Class === InstructPix2PixPipeline ? {} : { height: 32, width: 32 };
  const { images } = await pipe.run({ image: picture, prompt: "make it snow", numInferenceSteps: 2, seed: 1, ...size });
  return images[0]!;
}

/** The checkpoint edits as the model which the run saved, in a program and in the command line. */
async function expectSameEdits(name: string, Class: Parameters<typeof edited>[1]): Promise<void> {
  const checkpoint = folder.at(name, "checkpoint-1");
  const whole = await edited(folder.at(name), Class);
  expect((await edited(checkpoint, Class)).equals(whole)).toBe(true);
  const files = ["whole", "checkpoint"].map((file) => folder.at(`${name}-${file}.png`));
  for (const [i, model] of [folder.at(name), checkpoint].entries()) {
    const size = Class === InstructPix2PixPipeline ? [] : ["--height", "32", "--width", "32"];
    const args = ["--model", model, "--image", folder.at("picture.png"), "--prompt", "make it snow", "--seed", "1"];
    const more = ["--num_inference_steps", "2", "--output", files[i]!, "--device", "cpu", ...size];
    expect(await ip2pHere(["edit", ...args, ...more], { cwd: folder.path })).toMatchObject({ status: 0 });
  }
  expect(readFileSync(files[1]!).equals(readFileSync(files[0]!))).toBe(true);
}

describe("a checkpoint as a model", () => {
  test.each([
    ["averaged", { useEma: true }],
    ["plain", { useEma: false, conditioningDropoutProb: 0 }],
    ["with-text", { useEma: true, trainTextEncoder: true }],
  ])("%s: edits as the model that its run saves", async (name, more) => {
    await trained(options(name, more));
    warnings.length = 0;
    await expectSameEdits(name, InstructPix2PixPipeline);
    expect(warnings).toEqual([]);
    using any = await DiffusionPipeline.fromPretrained(folder.at(name, "checkpoint-1"), { device: "cpu" });
    expect(any).toBeInstanceOf(InstructPix2PixPipeline);
  });

  test.each([
    ["has them", true],
    ["only names them", false],
  ])("whose base %s: safety checker and feature extractor, kept byte for byte where they are", async (name, has) => {
    const base = folder.at(`base that ${name}`);
    cpSync(tinyBase, base, { recursive: true });
    const named = {
      safety_checker: ["stable_diffusion", "StableDiffusionSafetyChecker"],
      feature_extractor: ["transformers", "CLIPImageProcessor"],
    };
    const index = readJson<Record<string, unknown>>(join(base, "model_index.json"));
    writeFileSync(join(base, "model_index.json"), JSON.stringify({ ...index, ...named }));
    const files = ["safety_checker/model.safetensors", "safety_checker/config.json"];
    files.push("feature_extractor/preprocessor_config.json");
    if (has)
      for (const part of Object.keys(named))
        cpSync(fixture("safety-checker", part), join(base, part), { recursive: true });
    await trained(options(name, { pretrainedModelNameOrPath: base }));
    for (const file of files) {
      const saved = folder.at(name, file);
      expect(existsSync(saved)).toBe(has);
      if (has) expect(readFileSync(saved).equals(readFileSync(join(base, file)))).toBe(true);
    }
    const none = [null, null];
    expect(readJson(folder.at(name, "model_index.json"))).toMatchObject(
      has
        ? { ...named, requires_safety_checker: true }
        : { safety_checker: none, feature_extractor: none, requires_safety_checker: false },
    );
    for (const place of [folder.at(name), folder.at(name, "checkpoint-1")]) {
      using pipe = await InstructPix2PixPipeline.fromPretrained(place, { device: "cpu" });
      expect([pipe.safetyChecker !== null, pipe.featureExtractor !== null]).toEqual([has, has]);
    }
  });

  test("of Stable Diffusion XL, with both text encoders trained", async () => {
    const data = { pretrainedModelNameOrPath: xlBase, trainDataDir: fixture("sdxl-script-full", "dataset") };
    const more = { ...data, trainTextEncoder: true, useEma: true };
    await trained(options("xl-text", more));
    await expectSameEdits("xl-text", StableDiffusionXLInstructPix2PixPipeline);
    const twice = { ...more, maxTrainSteps: 2 };
    await trained(options("xl-text-twice", twice));
    const weights = async (place: string) =>
      (await loadSafetensors(place))["text_model.encoder.layers.0.mlp.fc1.weight"]!;
    for (const name of ["text_encoder", "text_encoder_2"]) {
      const [ours, base] = await Promise.all(
        [folder.at("xl-text-twice"), xlBase].map(async (place) => weights(join(place, name, "model.safetensors"))),
      );
      expect(await ours!.toArray()).not.toEqual(await base!.toArray());
    }
    await stoppedAfter(1, options("xl-text-parts", twice));
    await trained(options("xl-text-parts", { ...twice, resumeFromCheckpoint: "latest" }));
    expect(fingerprint(folder.at("xl-text-parts", "checkpoint-2"))).toEqual(
      fingerprint(folder.at("xl-text-twice", "checkpoint-2")),
    );
  });

  test("of Stable Diffusion XL, with another autoencoder than the base model's", async () => {
    const vae = fixture("sdxl-script-basic", "base/vae");
    const data = { pretrainedModelNameOrPath: xlBase, trainDataDir: fixture("sdxl-script-full", "dataset") };
    await trained(options("xl", { ...data, pretrainedVaeModelNameOrPath: vae }));
    await expectSameEdits("xl", StableDiffusionXLInstructPix2PixPipeline);
  });

  test("of a base model in a single file", async () => {
    const file = folder.at("base.safetensors");
    const config = folder.at("base-config");
    await writeWithChannels(file, "ip2p-tiny", 4);
    await copyWithChannels(config, "ip2p-tiny", 4);
    await trained(options("file", { pretrainedModelNameOrPath: file, config }));
    await expectSameEdits("file", InstructPix2PixPipeline);
  });

  test("finds a base model that was named from another folder, and takes components instead of its own", async () => {
    const before = process.cwd();
    mkdirSync(folder.at("elsewhere"));
    folder.copyOfBase("elsewhere/base");
    process.chdir(folder.at("elsewhere"));
    try {
      await trained(options("relative", { pretrainedModelNameOrPath: "./base" }));
    } finally {
      process.chdir(before);
    }
    const checkpoint = folder.at("relative", "checkpoint-1");
    using unet = await UNet2DConditionModel.fromPretrained(join(checkpoint, "unet"), { device: "cpu" });
    using pipe = await InstructPix2PixPipeline.fromPretrained(checkpoint, { unet, device: "cpu" });
    expect(pipe.unet).toBe(unet);
    pipe.dispose();
    expect(unet.disposed).toBe(false);

    renameSync(folder.at("elsewhere", "base"), folder.at("elsewhere", "moved"));
    const message = expect.stringMatching(
      /elsewhere.base: no such folder.*checkpoint-1 is a checkpoint, which needs its base model at ".*elsewhere.base" \(a link is enough\)/,
    );
    await expect(InstructPix2PixPipeline.fromPretrained(checkpoint)).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message,
    });
    const args = [
      "edit",
      "--model",
      checkpoint,
      "--image",
      folder.at("picture.png"),
      "--prompt",
      "x",
      "--output",
      "x.png",
    ];
    expect(await ip2pHere(args, { cwd: folder.path })).toMatchObject({ status: 1, stderr: message });
  });

  test("is refused by name for what it is not, before weights are read", async () => {
    await trained(options("edits"));
    const checkpoint = folder.at("edits", "checkpoint-1");
    const args = ["--prompt", "x", "--output", "x.png", "--device", "cpu"];
    const whole = await ip2pHere(["generate", "--model", folder.at("edits"), ...args], { cwd: folder.path });
    const generated = await ip2pHere(["generate", "--model", checkpoint, ...args], { cwd: folder.path });
    expect(generated.status).toBe(1);
    expect(generated.stderr.replaceAll(checkpoint, folder.at("edits"))).toBe(whole.stderr);
    // Another run resumes from a checkpoint, and begins with a whole model.
    const again = await watch(options("again", { pretrainedModelNameOrPath: checkpoint }));
    expect(expectError(again, "ERR_CONFIG")).toMatch(/is a checkpoint of training, which has only what was trained/);
    expect(existsSync(folder.at("again", "model_index.json"))).toBe(false);
  });

  test.each([
    ["text", { _base_model: "base" }],
    ["no trained models", { _base_model: { model: "base" } }],
    ["a path in place of a name", { _base_model: { model: "base", trained: { unet: "../unet" } } }],
    ["an unknown entry", { _base_model: { model: "base", trained: {}, more: 1 } }],
  ])("an index with %s is refused", async (name, entry) => {
    const place = folder.at(`broken ${name}`);
    cpSync(tinyBase, place, { recursive: true });
    const index = join(place, "model_index.json");
    writeFileSync(index, JSON.stringify({ ...readJson<object>(index), ...entry }));
    await expect(InstructPix2PixPipeline.fromPretrained(place)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining('"_base_model" is '),
    });
  });

  test("a checkpoint that names no base model says what to do", async () => {
    const place = folder.at("script", "checkpoint-5");
    cpSync(join(tinyBase, "unet"), join(place, "unet"), { recursive: true });
    await expect(InstructPix2PixPipeline.fromPretrained(place)).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: expect.stringMatching(/has a UNet, but does not say of which model: in a program load that model/),
    });
    rmSync(place, { recursive: true });
  });
});
