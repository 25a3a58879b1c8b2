import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { CLIPImageProcessor } from "../../lib/conditioning/clip_image_processor.js";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../lib/files/safetensors.js";
import { loadImage, RgbImage } from "../../lib/images/index.js";
import { ControlNetModel } from "../../lib/models/controlnet.js";
import { StableDiffusionSafetyChecker } from "../../lib/models/safety_checker.js";
import { DiffusionPipeline } from "../../lib/pipelines/diffusion_pipeline.js";
import { pipelineFromClassName } from "../../lib/pipelines/registry.js";
import type { ImagesResult } from "../../lib/pipelines/run-options.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { StableDiffusionUpscalePipeline } from "../../lib/pipelines/upscale/stable_diffusion_upscale.js";
import { ip2pHere } from "../cli/run-cli.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const FOLDER = "safety-checker";
const PROMPT = "a fantasy landscape";
const PARTS = ["safety_checker", "feature_extractor"] as const;

interface Case {
  alone: { found: boolean[]; found_bfloat16: boolean[] };
  runs: { pipeline: string; fixture: string; seed: number; nsfw: boolean[]; args: Record<string, unknown> }[];
}

const recorded = readJson<Case>(fixture(FOLDER, "case.json"));
const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
let expected: Record<string, Tensor>;
let safetyChecker: StableDiffusionSafetyChecker;
let featureExtractor: CLIPImageProcessor;

beforeAll(async () => {
  expected = await loadSafetensors(fixture(FOLDER, "expected.safetensors"));
  safetyChecker = await StableDiffusionSafetyChecker.fromPretrained(fixture(FOLDER, "safety_checker"));
  featureExtractor = await CLIPImageProcessor.fromPretrained(fixture(FOLDER, "feature_extractor"));
});
afterAll(() => safetyChecker.dispose());

/** Recorded bytes [N,H,W,3] as images. */
async function picturesOf(tensor: Tensor): Promise<RgbImage[]> {
  const [count, height, width] = tensor.shape as [number, number, number];
  const all = (await tensor.toArray()) as Uint8Array;
  const size = 3 * height * width;
  return Array.from({ length: count }, (_, i) => new RgbImage(width, height, all.slice(i * size, (i + 1) * size)));
}

function furthest(one: RgbImage, other: RgbImage): number {
  expect([one.width, one.height]).toEqual([other.width, other.height]);
  return one.data.reduce((most, value, i) => Math.max(most, Math.abs(value - other.data[i]!)), 0);
}

/** A folder of a model with the checker. */
function folderWith(parts: readonly string[], names: Record<string, [string, string]> = CLASSES): string {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-safety-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(fixture("text2img", "model"), folder, { recursive: true });
  for (const part of parts) cpSync(fixture(FOLDER, part), join(folder, part), { recursive: true });
  const index = join(folder, "model_index.json");
  writeFileSync(index, JSON.stringify({ ...readJson<object>(index), ...names }));
  return folder;
}

const CLASSES: Record<string, [string, string]> = {
  safety_checker: ["stable_diffusion", "StableDiffusionSafetyChecker"],
  feature_extractor: ["transformers", "CLIPFeatureExtractor"],
};
const CALL = { prompt: PROMPT, seed: 100, height: 32, width: 40, numInferenceSteps: 3, numImagesPerPrompt: 3 };

describe("alone", () => {
  test("finds what diffusers finds, with special concepts too", async () => {
    using input = await featureExtractor.preprocess(await picturesOf(expected["alone.images"]!));
    expect((await deviation(input, expected["alone.input"]!)).absolute).toBeLessThan(1e-6);
    const { nsfw, conceptScores, specialScores } = await safetyChecker.forward(input);
    expect(nsfw).toEqual(recorded.alone.found);
    expect(conceptScores.shape).toEqual([8, 17]);
    expect(specialScores.shape).toEqual([8, 3]);
    // Scores are what cosines are above thresholds, in thousandths, and more by a hundredth behind a special concept.
    const weights = await loadSafetensors(fixture(FOLDER, "safety_checker", "model.safetensors"));
    const thresholds = (await weights.concept_embeds_weights!.toArray()) as Float32Array;
    const cosines = (await expected["alone.cosines"]!.toArray()) as Float32Array;
    const special = (await specialScores.toArray()) as Float32Array;
    for (const [i, score] of ((await conceptScores.toArray()) as Float32Array).entries()) {
      const row = Math.floor(i / 17);
      const found = special.subarray(3 * row, 3 * row + 3).some((value) => value > 0);
      const above = cosines[i]! - thresholds[i % 17]! + (found ? 0.01 : 0);
      expect(Math.abs(score - above)).toBeLessThan(0.0005 + 1e-5);
    }
  });

  test("computes in bfloat16", async () => {
    using checker = await StableDiffusionSafetyChecker.fromPretrained(fixture(FOLDER, "safety_checker"), {
      dtype: "bfloat16",
    });
    const { nsfw } = await checker.forward(expected["alone.input"]!);
    // Thresholds of special concepts are too fine for this type: the fifth image is at the edge.
    const others = (found: boolean[]) => found.filter((_, i) => i !== 4);
    expect(others(nsfw)).toEqual(others(recorded.alone.found_bfloat16));
  });

  test("is saved as it was published, and read as newer versions write it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ip2p-safety-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    await safetyChecker.savePretrained(folder);
    const published = await loadSafetensors(fixture(FOLDER, "safety_checker", "model.safetensors"));
    const saved = await loadSafetensors(join(folder, "model.safetensors"));
    expect(Object.keys(saved).sort()).toEqual(Object.keys(published).sort());
    for (const [name, tensor] of Object.entries(saved))
      expect((await deviation(tensor, published[name]!)).absolute).toBe(0);
    const config = readJson<Record<string, unknown>>(join(folder, "config.json"));
    expect(config).toMatchObject({ architectures: ["StableDiffusionSafetyChecker"], model_type: "clip" });
    expect(config.vision_config).toMatchObject({ hidden_size: 16, image_size: 28, patch_size: 7 });

    const shorter = Object.fromEntries(
      Object.entries(published).map(([name, tensor]) => [
        name.replace("vision_model.vision_model", "vision_model"),
        tensor,
      ]),
    );
    await saveSafetensors(join(folder, "model.safetensors"), shorter, { format: "pt" });
    // The older key of the configuration counts where both are there.
    const { vision_config: vision, ...rest } = config as { vision_config: object };
    writeFileSync(
      join(folder, "config.json"),
      JSON.stringify({ ...rest, vision_config: { ...vision, hidden_size: 99 }, vision_config_dict: vision }),
    );
    using again = await StableDiffusionSafetyChecker.fromPretrained(folder);
    expect((await again.forward(expected["alone.input"]!)).nsfw).toEqual(recorded.alone.found);
  });

  test("names what is wrong with its input and its configuration", async () => {
    using small = await expected["alone.input"]!.slice(2, 0, 20);
    await expect(safetyChecker.forward(small)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    const folder = mkdtempSync(join(tmpdir(), "ip2p-safety-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    for (const [change, message] of [
      [{ vision_config: 3 }, '"vision_config" is 3'],
      [{ vision_config: { patch_size: 0 } }, 'vision_config: "patch_size" is 0'],
      [{ projection_dim: "wide" }, '"projection_dim" is "wide"'],
    ] as const) {
      writeFileSync(join(folder, "config.json"), JSON.stringify(change));
      await expect(StableDiffusionSafetyChecker.fromPretrained(folder)).rejects.toMatchObject({
        code: "ERR_CONFIG",
        message: expect.stringContaining(message),
      });
    }
  });
});

describe("behind a pipeline", () => {
  for (const [i, run] of recorded.runs.entries())
    test(`${run.pipeline}${"padding_mask_crop" in run.args ? ", which puts its result back into the image" : ""}`, async () => {
      const folder = fixture(run.fixture, "model");
      const controlnet = run.pipeline.includes("ControlNet")
        ? await ControlNetModel.fromPretrained(join(folder, "controlnet"))
        : undefined;
      const type = pipelineFromClassName(run.pipeline) as unknown as typeof StableDiffusionPipeline;
      const given = { safetyChecker, featureExtractor, ...(controlnet && { controlnet }) };
      using pipe = await type.fromPretrained(folder, given);
      const args: Record<string, unknown> = {};
      for (const [name, value] of Object.entries(run.args))
        args[camelCase(name)] = String(value).endsWith(".png") ? fixture(run.fixture, String(value)) : value;
      const call = { ...args, prompt: PROMPT, seed: run.seed, numInferenceSteps: 3, numImagesPerPrompt: 3 };
      const { images, nsfw } = await (pipe as unknown as { run(call: object): Promise<ImagesResult> }).run(call);
      expect(nsfw).toEqual(run.nsfw);
      const pictures = await picturesOf(expected[`run${i}.images`]!);
      for (const [at, picture] of images.entries()) expect(furthest(picture, pictures[at]!)).toBeLessThanOrEqual(1);
      controlnet?.dispose();
    });

  test("tensors are black in the same rows; latents are not looked at", async () => {
    using pipe = await StableDiffusionPipeline.fromPretrained(fixture("text2img", "model"), {
      safetyChecker,
      featureExtractor,
    });
    const { images, nsfw } = await pipe.run({ ...CALL, outputType: "tensor" });
    expect(nsfw).toEqual(recorded.runs[0]!.nsfw);
    expect((await deviation(images, expected.tensor!)).absolute).toBeLessThan(1e-4);
    expect(await pipe.run({ ...CALL, outputType: "latent" })).not.toHaveProperty("nsfw");
  });

  test("the ×4 upscaler's results are looked at, in tiles too", async () => {
    using pipe = await StableDiffusionUpscalePipeline.fromPretrained(fixture("upscale-x4", "model"), {
      safetyChecker,
      featureExtractor,
    });
    const image = await loadImage(fixture("upscale-x4", "image0.png"));
    const call = { image, prompt: PROMPT, seed: 1, numInferenceSteps: 1 };
    const { images, nsfw } = await pipe.run(call);
    expect(nsfw).toEqual([false]);
    // Everything is near to this: cosines are at least -1.
    const all = await StableDiffusionSafetyChecker.fromPretrained(withThreshold(-2));
    pipe.safetyChecker = all;
    for (const tile of [false, true]) {
      const found = await pipe.run({ ...call, tile });
      expect(found.nsfw).toEqual([true]);
      expect(found.images[0]!.data.every((value) => value === 0)).toBe(true);
      expect([found.images[0]!.width, found.images[0]!.height]).toEqual([images[0]!.width, images[0]!.height]);
    }
    all.dispose();
  });
});

/** A checker with this threshold of all concepts. */
function withThreshold(threshold: number): string {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-safety-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(fixture(FOLDER, "safety_checker"), folder, { recursive: true });
  const file = join(folder, "model.safetensors");
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString("utf8")) as Record<
    string,
    { data_offsets: number[] }
  >;
  const [from, to] = header.concept_embeds_weights!.data_offsets as [number, number];
  for (let at = from; at < to; at += 4) bytes.writeFloatLE(threshold, 8 + length + at);
  writeFileSync(file, bytes);
  return folder;
}

describe("in a folder", () => {
  test("is loaded, shared, moved and saved with the pipeline", async () => {
    using pipe = await DiffusionPipeline.fromPretrained(folderWith(PARTS));
    if (!(pipe instanceof StableDiffusionPipeline)) throw new Error("another class");
    expect(pipe.safetyChecker).toBeInstanceOf(StableDiffusionSafetyChecker);
    expect((await pipe.run(CALL)).nsfw).toEqual(recorded.runs[0]!.nsfw);
    using images = StableDiffusionImg2ImgPipeline.fromPipe(pipe);
    expect(images.safetyChecker).toBe(pipe.safetyChecker);
    const image = await loadImage(fixture("img2img", "image0.png"));
    expect((await images.run({ image, prompt: PROMPT, seed: 1, numInferenceSteps: 2 })).nsfw).toHaveLength(1);
    using without = StableDiffusionPipeline.fromPipe(pipe, { safetyChecker: null });
    expect(await without.run({ ...CALL, numInferenceSteps: 1 })).not.toHaveProperty("nsfw");
    await pipe.enableModelCpuOffload("cpu");
    expect((await pipe.run(CALL)).nsfw).toEqual(recorded.runs[0]!.nsfw);

    const target = mkdtempSync(join(tmpdir(), "ip2p-safety-"));
    onTestFinished(() => rmSync(target, { recursive: true, force: true }));
    await pipe.savePretrained(target);
    const index = readJson<Record<string, unknown>>(join(target, "model_index.json"));
    expect(index).toMatchObject({
      requires_safety_checker: true,
      safety_checker: CLASSES.safety_checker,
      feature_extractor: ["transformers", expect.stringMatching(/^CLIP/)],
    });
    expect(readdirSync(join(target, "safety_checker")).sort()).toEqual(["config.json", "model.safetensors"]);
    expect(readdirSync(join(target, "feature_extractor"))).toEqual(["preprocessor_config.json"]);
    using again = await StableDiffusionPipeline.fromPretrained(target);
    expect((await again.run(CALL)).nsfw).toEqual(recorded.runs[0]!.nsfw);
  });

  test("on the command line: one line, an event, and no checker on request", async () => {
    const model = folderWith(PARTS);
    const sizes = ["--height", "32", "--width", "40", "--num_inference_steps", "3", "--num_images_per_prompt", "3"];
    const run = (...more: string[]) =>
      ip2pHere(
        ["generate", "--model", model, "--prompt", PROMPT, "--seed", "100", ...sizes, "--output", "o.png", ...more],
        {
          cwd: model,
        },
      );
    expect(await run("--quiet")).toMatchObject({ status: 0, stderr: "" });
    const line = "the safety checker replaced 1 of 3 images by black: o-3.png; another seed or prompt may help";
    expect(await run("--no_progress")).toMatchObject({ status: 0, stderr: `ip2p: warning: ${line}\n` });
    const { stdout } = await run("--json", "--no_progress");
    const events = stdout
      .trim()
      .split("\n")
      .map((text) => JSON.parse(text) as Record<string, unknown>);
    expect(events).toContainEqual(expect.objectContaining({ event: "warning", message: line }));
    expect(events.at(-1)).toMatchObject({ event: "done", nsfw: recorded.runs[0]!.nsfw });
    const without = await run("--json", "--no_progress", "--no_safety_checker");
    expect(without.status).toBe(0);
    expect(without.stdout).not.toContain("nsfw");
    expect(without.stdout).not.toContain("warning");
  });

  test("is left out on request, and where its files are not there", async () => {
    const whole = folderWith(PARTS);
    for (const left of [false, null] as const) {
      using pipe = await StableDiffusionPipeline.fromPretrained(whole, { safetyChecker: left });
      expect(pipe.safetyChecker).toBeNull();
      expect(await pipe.run({ ...CALL, numInferenceSteps: 1 })).not.toHaveProperty("nsfw");
    }
    using named = await StableDiffusionPipeline.fromPretrained(folderWith([]));
    expect([named.safetyChecker, named.featureExtractor]).toEqual([null, null]);
    using plain = await StableDiffusionPipeline.fromPretrained(fixture("text2img", "model"));
    expect(plain.safetyChecker).toBeNull();
  });

  test("names what is missing before weights are read", async () => {
    const lonely = StableDiffusionPipeline.fromPretrained(folderWith(["safety_checker"]));
    await expect(lonely).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("the safety checker needs a featureExtractor"),
    });
    const pickled = folderWith(PARTS);
    rmSync(join(pickled, "safety_checker", "model.safetensors"));
    writeFileSync(join(pickled, "safety_checker", "pytorch_model.bin"), "");
    await expect(StableDiffusionPipeline.fromPretrained(pickled)).rejects.toMatchObject({
      code: "ERR_SAFETENSORS",
      message: expect.stringContaining("do without it: safetyChecker: false"),
    });
    const foreign = folderWith(PARTS, { ...CLASSES, safety_checker: ["custom", "OtherChecker"] });
    await expect(StableDiffusionPipeline.fromPretrained(foreign)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("safetyChecker: false"),
    });
    using without = await StableDiffusionPipeline.fromPretrained(foreign, { safetyChecker: false });
    expect(without.safetyChecker).toBeNull();
    const size = folderWith(PARTS);
    writeFileSync(join(size, "feature_extractor", "preprocessor_config.json"), "{}");
    await expect(StableDiffusionPipeline.fromPretrained(size)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("224×224"),
    });
    await expect(
      StableDiffusionPipeline.fromPretrained(fixture("text2img", "model"), { safetyChecker: true } as object),
    ).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining("safetyChecker") });
  });
});
