import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadSafetensors, readSafetensorsHeader, saveSafetensors } from "../../../lib/files/safetensors.js";
import { InstructPix2PixPipeline } from "../../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { CLIPTokenizer } from "../../../lib/tokenizer/clip_tokenizer.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { fixture, readJson } from "../../helpers/fixtures.js";
import { expectSameState } from "../../helpers/same-state.js";
import { copyWithChannels, writeWithChannels } from "../../single-file/make.js";
import {
  checkpoints,
  expectError,
  filesBelow,
  fingerprint,
  metrics,
  stoppedAfter,
  TemporaryFolder,
  tinyOptions,
  tinyPairs,
  trained,
  upTo,
  watch,
} from "./tiny-run.js";

const STEPS = 3;
const MODELS = ["ip2p-tiny", "ip2p-linear-v"] as const;
/** The options that stand for each way to give a base model. */
type Base = Pick<TrainInput, "pretrainedModelNameOrPath" | "config">;

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

function options(name: string, base: Base, more: Partial<TrainInput> = {}): TrainInput {
  return tinyOptions(folder.at(name), { maxTrainSteps: STEPS, numThreads: 1, ...base, ...more });
}

/** The same model in both forms. */
async function bothForms(
  model: string,
  channels: number,
  dtype: "float32" | "float16" = "float32",
): Promise<{ file: Base; folder: Base }> {
  const name = `${model}-${channels}-${dtype}`;
  const path = folder.at(`${name}.safetensors`);
  const config = folder.at(name);
  if (!existsSync(config)) {
    await writeWithChannels(path, model, channels, async (tensors) => {
      for (const [key, tensor] of Object.entries(tensors)) tensors[key] = await tensor.to({ dtype });
    });
    await copyWithChannels(config, model, channels);
    for (const file of filesBelow(config).filter((file) => file.endsWith(".safetensors"))) {
      const tensors = await loadSafetensors(join(config, file));
      for (const [key, tensor] of Object.entries(tensors)) tensors[key] = await tensor.to({ dtype });
      await saveSafetensors(join(config, file), tensors);
    }
  }
  return { file: { pretrainedModelNameOrPath: path, config }, folder: { pretrainedModelNameOrPath: config } };
}

const losses = (outputDir: string) => metrics(outputDir).map(({ train_loss }) => train_loss);

/** The types of a file's tensors. */
async function storedTypes(path: string): Promise<string[]> {
  return [...new Set([...(await readSafetensorsHeader(path)).values()].map(({ dtype }) => dtype))];
}

/** Compares what two runs saved. */
async function expectSameModels(a: string, b: string): Promise<void> {
  expect(readJson(join(a, "model_index.json"))).toEqual(readJson(join(b, "model_index.json")));
  const unet = join("unet", "diffusion_pytorch_model.safetensors");
  expect(readFileSync(join(a, unet)).equals(readFileSync(join(b, unet)))).toBe(true);
  for (const file of [join("vae", "diffusion_pytorch_model.safetensors"), join("text_encoder", "model.safetensors")])
    expect(await storedTypes(join(a, file))).toEqual(await storedTypes(join(b, file)));
  using one = await InstructPix2PixPipeline.fromPretrained(a, { device: "cpu" });
  using other = await InstructPix2PixPipeline.fromPretrained(b, { device: "cpu" });
  for (const part of ["unet", "vae", "textEncoder"] as const) {
    expect(one[part].config).toEqual(other[part].config);
    await expectSameState(one[part], other[part]);
  }
  expect(one.scheduler.className).toBe(other.scheduler.className);
  const { _diffusers_version: _, ...config } = one.scheduler.config;
  expect(other.scheduler.config).toMatchObject(config);
  const call = { prompt: "make it snow", image: fixture("ip2p-tiny", "image.png"), numInferenceSteps: 2, seed: 1 };
  const [{ images: left }, { images: right }] = [await one.run(call), await other.run(call)];
  expect(left[0]!.data).toEqual(right[0]!.data);
}

describe.each(MODELS)("%s", (model) => {
  test.each([4, 8])("of %i channels trains from a file as from a folder, to the bit", async (channels) => {
    const base = await bothForms(model, channels);
    const [file, dir] = [folder.at(`${model}-${channels}-file`), folder.at(`${model}-${channels}-folder`)];
    await trained(options(file.slice(folder.path.length + 1), base.file));
    await trained(options(dir.slice(folder.path.length + 1), base.folder));
    expect(losses(file)).toHaveLength(STEPS);
    expect(losses(file)).toEqual(losses(dir));
    await expectSameModels(file, dir);
  });
});

test("in half precision, frozen models included, whose saved weights are the file's", async () => {
  const base = await bothForms("ip2p-tiny", 4, "float16");
  const more = { mixedPrecision: "bf16" as const, useEma: false };
  await trained(options("half-file", base.file, more));
  await trained(options("half-folder", base.folder, more));
  expect(losses(folder.at("half-file"))).toEqual(losses(folder.at("half-folder")));
  await expectSameModels(folder.at("half-file"), folder.at("half-folder"));
});

test("a trained text encoder is saved, and the other parts are kept", async () => {
  const base = await bothForms("ip2p-tiny", 4);
  await trained(options("text-file", base.file, { trainTextEncoder: true }));
  await trained(options("text-folder", base.folder, { trainTextEncoder: true }));
  await expectSameModels(folder.at("text-file"), folder.at("text-folder"));
});

test("cached latents are those of a folder, and belong to the file and its configurations", async () => {
  const base = await bothForms("ip2p-tiny", 4);
  const cacheDir = folder.at("latents-of-both");
  const more = { cacheLatents: true, cacheDir };
  await trained(options("cached-file", base.file, more));
  const caches = () => readdirSync(join(cacheDir, "latents"));
  expect(caches()).toHaveLength(1);
  await trained(options("cached-again", base.file, more));
  expect(caches()).toHaveLength(1);
  await trained(options("cached-folder", base.folder, more));
  expect(caches()).toHaveLength(2);
  expect(losses(folder.at("cached-file"))).toEqual(losses(folder.at("cached-folder")));
  const other = await bothForms("ip2p-tiny", 8);
  await trained(options("cached-other", other.file, more));
  expect(caches()).toHaveLength(3);
});

test("a stopped run resumes to the same bits, and validates", async () => {
  const base = await bothForms("ip2p-tiny", 4);
  const valImageUrl = join(tinyPairs, "images", readdirSync(join(tinyPairs, "images"))[0]!);
  const more = { valImageUrl, validationPrompt: "make it snow", numValidationImages: 1, maxTrainSteps: 4 };
  const seen = await trained(options("whole", base.file, { ...more, checkpointingSteps: 4 }));
  expect(seen.events.some(({ type }) => type === "validation")).toBe(true);
  await stoppedAfter(2, options("stopped", base.file, { ...more, checkpointingSteps: 4 }));
  await trained(options("stopped", base.file, { ...more, checkpointingSteps: 4, resumeFromCheckpoint: "latest" }));
  expect(metrics(folder.at("stopped")).map(({ step }) => step)).toEqual(upTo(4));
  expect(checkpoints(folder.at("stopped")).at(-1)).toBe("checkpoint-4");
  expect(fingerprint(folder.at("stopped", "checkpoint-4"))).toEqual(fingerprint(folder.at("whole", "checkpoint-4")));
  await expectSameModels(folder.at("stopped"), folder.at("whole"));
  const other = await watch(
    options("stopped", (await bothForms("ip2p-tiny", 8)).file, { ...more, resumeFromCheckpoint: "latest" }),
  );
  expect(expectError(other, "ERR_CONFIG")).toMatch(/pretrainedModelNameOrPath was .*; config was /);
});

test("the card names the file, without its path", async () => {
  const card = readFileSync(folder.at("ip2p-tiny-4-file", "README.md"), "utf8");
  expect(card).toContain("# InstructPix2Pix, trained from ip2p-tiny-4-float32.safetensors\n");
  expect(card).not.toContain(folder.path);
  expect(card).not.toContain("base_model");
});

test("the tokenizer is saved with the padding token that it was loaded with", async () => {
  const { tokenizer } = await InstructPix2PixPipeline.fromPretrained(folder.at("ip2p-linear-v-8-file"), {
    device: "cpu",
  });
  const [ids] = tokenizer.encode("a cat", { padding: "max_length" });
  const own = await CLIPTokenizer.fromPretrained(fixture("ip2p-linear-v", "model", "tokenizer"));
  expect(ids).toEqual(own.encode("a cat", { padding: "max_length" })[0]);
});

test("if the file is gone at the end, that is said, and a checkpoint is kept", async () => {
  const { file } = await bothForms("ip2p-tiny", 4);
  const copy = await writeWithChannels(folder.at("vanishes.safetensors"), "ip2p-tiny", 4);
  const seen = await watch({
    ...options("vanished", { ...file, pretrainedModelNameOrPath: copy }),
    onStep: ({ step }) => {
      if (step === STEPS) rmSync(copy);
    },
  });
  expect(expectError(seen, "ERR_FILE_NOT_FOUND")).toContain(copy);
  expect(checkpoints(folder.at("vanished"))).toEqual([`checkpoint-${STEPS}`]);
});

describe("options that do not fit are refused before anything is loaded", () => {
  test.each([
    ["variant", { variant: "fp16" }, /^variant .* the model is a file$/],
    ["non_ema_revision", { nonEmaRevision: "main" }, /^nonEmaRevision .* the model is a file$/],
    [
      "config of a folder",
      { pretrainedModelNameOrPath: fixture("ip2p-tiny", "model") },
      /^config is for a model in a single file/,
    ],
  ])("%s", async (_, more, message) => {
    const { file } = await bothForms("ip2p-tiny", 4);
    const seen = await watch(options("refused", file, more));
    expect(expectError(seen, "ERR_INVALID_ARGUMENT")).toMatch(message);
    expect(seen.events.filter(({ type }) => type === "loading")).toEqual([]);
  });

  test("a file for inpainting", async () => {
    const { file } = await bothForms("ip2p-tiny", 9);
    expect(expectError(await watch(options("refused", file)), "ERR_CONFIG")).toMatch(
      /takes 9 channels.*inpainting model/,
    );
  });
});
