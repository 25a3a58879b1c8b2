import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Tensor } from "../../lib/core/tensor.js";
import { Clip, findClip } from "../../lib/evaluation/clip.js";
import { evaluate } from "../../lib/evaluation/evaluate.js";
import { featuresOf, measureEdit } from "../../lib/evaluation/measure.js";
import type { EvaluateOptions } from "../../lib/evaluation/options.js";
import { planesOf } from "../../lib/evaluation/planes.js";
import { evaluateWorld } from "../../lib/evaluation/world.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { RgbImage } from "../../lib/images/index.js";
import { builtInModel } from "../../lib/models/built-in.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { native } from "../../lib/runtime/native.js";
import { ip2pHere, tinyModel, Workplace } from "../cli/run-cli.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const CLIP = fixture("evaluation", "clip");

type Metrics = Record<string, number>;
const { cases } = readJson<{
  cases: { captions: [string, string]; unit: Metrics; as_original: Metrics; magicbrush: Metrics }[];
}>(fixture("evaluation", "case.json"));

async function imageOf(tensor: Tensor): Promise<RgbImage> {
  const [height, width] = tensor.shape as [number, number];
  return new RgbImage(width, height, (await tensor.toArray()) as Uint8Array);
}

describe("measures", () => {
  let clip: Clip;
  let images: Record<string, Tensor>;
  beforeAll(async () => {
    clip = await Clip.load(await findClip(CLIP, {}), { device: "cpu" });
    images = await loadSafetensors(fixture("evaluation", "images.safetensors"));
  });
  afterAll(() => clip.dispose());

  test.each([...cases.keys()])("of case %i are those of Python", async (i) => {
    const { captions, unit, as_original, magicbrush } = cases[i]!;
    const [original, picture, target] = await Promise.all(
      ["original", "result", "target"].map((name) => imageOf(images[`${i}.${name}`]!)),
    );
    for (const [asOriginal, paper] of [
      [false, unit],
      [true, as_original],
    ] as const) {
      const measure = { clip, asOriginal };
      const known = await featuresOf({ original: original!, target: target!, captions }, measure);
      const result = { planes: planesOf(picture!), picture: picture! };
      const found: Metrics = { ...(await measureEdit(result, { target: target!, known }, measure)) };
      for (const [name, value] of Object.entries({ ...paper, ...magicbrush }))
        expect(Math.abs(found[name]! - value), `${name} ${found[name]} ${value}`).toBeLessThan(1e-5);
    }
  });
});

/** A folder with pairs, the files of the first `images` of which can be read. */
async function pairs(place: Workplace, { rows = 3, unreadable = -1, caption = "edited_prompt" } = {}): Promise<string> {
  const folder = place.at("pairs");
  mkdirSync(folder, { recursive: true });
  const lines: object[] = [];
  for (let row = 0; row < rows; row++) {
    for (const [k, name] of ["before", "after"].entries()) {
      const pixels = Uint8Array.from({ length: 3 * 40 * 30 }, (_, i) => (i * (7 + row) + 40 * k) % 256);
      await sharp(pixels, { raw: { width: 40, height: 30, channels: 3 } })
        .png()
        .toFile(`${folder}/${name}${row}.png`);
    }
    if (row === unreadable) writeFileSync(`${folder}/after${row}.png`, "no image");
    lines.push({
      ...{ input_image_file_name: `before${row}.png`, edited_image_file_name: `after${row}.png` },
      ...{ edit_prompt: "make it blue", original_prompt: `a house, number ${row}`, [caption]: "a blue house" },
    });
  }
  writeFileSync(`${folder}/metadata.jsonl`, `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`);
  return folder;
}

const QUICK = { clip: CLIP, device: "cpu", numInferenceSteps: 1, resolution: 32, imageGuidanceScales: [1, 1.6] };
const FILES = ["results.jsonl", "summary.json", "curve.svg", "curve.png"];
const contents = (folder: string) => FILES.map((name) => readFileSync(`${folder}/${name}`).toString("base64"));

describe("an evaluation", () => {
  let pipeline: InstructPix2PixPipeline;
  beforeAll(async () => {
    pipeline = await InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu" });
  });
  afterAll(() => pipeline.dispose());

  test("goes on where it was stopped, and ends with the same bytes", async () => {
    using place = new Workplace();
    const from = await pairs(place, { unreadable: 1 });
    const options = { ...QUICK, model: pipeline, from, seed: 4 };
    const skips: string[] = [];
    const whole = await evaluate({ ...options, output: place.at("whole"), onSkip: ({ where }) => skips.push(where) });
    expect(skips).toEqual(["metadata.jsonl, line 2"]);
    expect(whole).toMatchObject({ rows: 2, skipped: [{ row: 1, where: "metadata.jsonl, line 2" }] });
    expect(whole.points.map(({ imageGuidanceScale, count }) => [imageGuidanceScale, count])).toEqual([
      [1, 2],
      [1.6, 2],
    ]);
    for (const point of whole.points) {
      expect(Math.abs(point.sim_direction)).toBeLessThanOrEqual(1);
      expect(point.l1).toBeGreaterThan(0);
    }
    const lines = readFileSync(whole.files.results, "utf8").trim().split("\n");
    expect(lines).toHaveLength(1 + 2 * 3);
    const { width, height } = await sharp(whole.files.png).metadata();
    expect([width, height]).toEqual([1200, 800]);
    const expected = contents(place.at("whole"));

    // Stopped by a signal, killed within a line, within the first one, and damaged later.
    const stopping = new AbortController();
    const stopped = evaluate({
      ...{ ...options, output: place.at("stopped"), signal: stopping.signal },
      onProgress: ({ done }) => done === 3 && stopping.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(
      readFileSync(`${place.at("stopped")}/results.jsonl`, "utf8")
        .trim()
        .split("\n"),
    ).toHaveLength(4);
    const results = `${place.at("stopped")}/results.jsonl`;
    const done: number[] = [];
    const resume = () =>
      evaluate({ ...options, output: place.at("stopped"), onProgress: (progress) => done.push(progress.done) });
    await resume();
    expect(done[0]).toBe(4);
    expect(contents(place.at("stopped"))).toEqual(expected);
    for (const spoil of [
      () => truncateSync(results, lines.slice(0, 5).join("\n").length + 9),
      () => truncateSync(results, 17),
      () => appendFileSync(results, '{"image_guidance_scale":9}\n'),
      () => writeFileSync(results, readFileSync(results, "utf8").replace('"sim_1":', '"sim_x":')),
    ]) {
      spoil();
      await resume();
      expect(contents(place.at("stopped"))).toEqual(expected);
    }
    await expect(evaluate({ ...options, output: place.at("stopped"), numInferenceSteps: 2 })).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
      message: expect.stringContaining('"num_inference_steps" was "1", not "2"'),
    });
    writeFileSync(results, "notes\n");
    await expect(resume()).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    expect(readFileSync(results, "utf8")).toBe("notes\n");
  });

  test("takes pairs as torch draws them, and pixels as the paper's program does", async () => {
    using place = new Workplace();
    const from = await pairs(place, { rows: 5 });
    const options = { ...QUICK, model: pipeline, from, imageGuidanceScales: [1.5], count: 2, seed: 7 };
    const one = await evaluate({ ...options, output: place.at("one") });
    const rows = readFileSync(one.files.results, "utf8").trim().split("\n").slice(1);
    // torch.manual_seed(7); torch.randperm(5)
    expect(rows.map((line) => (JSON.parse(line) as { row: number }).row)).toEqual(PERMUTATION.slice(0, 2));
    const other = await evaluate({ ...options, output: place.at("other"), asOriginal: true });
    expect(other.points[0]!.sim_image).not.toBe(one.points[0]!.sim_image);
    expect(other.points[0]!.clip_i).toBe(one.points[0]!.clip_i);
  });

  test("says what is wrong before a model is loaded", async () => {
    using place = new Workplace();
    const from = await pairs(place, { rows: 1, caption: "other" });
    const call = (more: Partial<EvaluateOptions>) =>
      evaluate({ ...QUICK, model: place.at("no-model"), from, output: place.at("out"), ...more });
    await expect(call({})).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/no column "edited_prompt" with captions; set editedCaptionColumn to one of/),
    });
    const named = { editedCaptionColumn: "other" };
    await expect(call(named)).rejects.toMatchObject({ code: "ERR_FILE_NOT_FOUND" });
    await expect(call({ ...named, model: fixture("text2img", "model") })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("StableDiffusionPipeline, which does not edit by instruction"),
    });
    const encoder = fixture("text2img", "model", "text_encoder");
    await expect(call({ ...named, model: tinyModel, clip: encoder })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("has no text_config, as a whole CLIP has"),
    });
    for (const [name, change, code, message] of [
      ["wide", { projection_dim: 99 }, "ERR_STATE_DICT", "the configuration asks for"],
      ["odd", { projection_dim: -1 }, "ERR_CONFIG", '"projection_dim" is -1'],
      ["none", { text_config: 3 }, "ERR_CONFIG", '"text_config" is 3'],
    ] as const) {
      cpSync(CLIP, place.at(name), { recursive: true });
      const file = `${place.at(name)}/config.json`;
      writeFileSync(file, JSON.stringify({ ...readJson<object>(file), ...change }));
      await expect(call({ ...named, model: tinyModel, clip: place.at(name) })).rejects.toMatchObject({
        code,
        message: expect.stringContaining(message),
      });
    }
    rmSync(`${place.at("wide")}/model.safetensors`);
    for (const [options, message] of [
      [{ imageGuidanceScales: [0.5] }, "imageGuidanceScales"],
      [{ imageGuidanceScales: [] }, "imageGuidanceScales"],
      [{ guidanceScale: 1 }, "guidanceScale"],
      [{ numInferenceSteps: 0 }, "numInferenceSteps"],
      [{ count: 0 }, "count"],
      [{ clip: "" }, "clip"],
      [{ resolution: 1.5 }, "resolution"],
      [{ asOriginal: 1 }, "asOriginal"],
    ] as const)
      await expect(call({ ...named, ...(options as Partial<EvaluateOptions>) })).rejects.toMatchObject({
        code: "ERR_INVALID_ARGUMENT",
        message: expect.stringContaining(message),
      });
    // Before CLIP too, and without results that later calls would have to go on with.
    cpSync(tinyModel, place.at("half"), { recursive: true });
    rmSync(place.at("half", "vae"), { recursive: true });
    const loads = vi.spyOn(native(), "loadModel");
    for (const [options, error] of [
      [{ model: place.at("half") }, { code: "ERR_FILE_NOT_FOUND", message: /vae/ }],
      [
        { model: tinyModel, resolution: 33 },
        { code: "ERR_INVALID_ARGUMENT", message: /resolution must be a multiple of/ },
      ],
    ] as const) {
      const output = place.at("nothing");
      const { code, message } = error;
      await expect(call({ ...named, ...options, output })).rejects.toMatchObject({
        code,
        message: expect.stringMatching(message),
      });
      expect(existsSync(output)).toBe(false);
    }
    expect(loads).not.toHaveBeenCalled();
    loads.mockRestore();
    const broken = await pairs(place, { rows: 1, unreadable: 0 });
    await expect(call({ model: tinyModel, from: broken, output: place.at("none-left") })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringContaining("no pair can be evaluated: metadata.jsonl, line 1"),
    });
  });

  test("on the command line", async () => {
    using place = new Workplace();
    await pairs(place, { rows: 2 });
    const run = (...args: string[]) => ip2pHere(["evaluate", ...args], { cwd: place.folder });
    const own = ["--model", tinyModel, "--from", "pairs", "--clip", CLIP, "--output", "out", "--resolution", "32"];
    const quick = ["--num_inference_steps", "1", "--image_guidance_scales", "1,2", "--device", "cpu"];
    const table = await run(...own, ...quick);
    expect(table).toMatchObject({ status: 0, stderr: "" });
    expect(table.stdout).toMatch(/image guidance +sim_0 .*clip_t \(true\)/);
    expect(table.stdout).toContain("2 pairs; out/results.jsonl");
    const { stdout } = await run(...own, ...quick, "--json");
    expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toMatchObject({
      ...{ event: "done", rows: 2, skipped_rows: 0 },
      points: [{ image_guidance_scale: 1 }, { image_guidance_scale: 2 }],
    });
    for (const [args, message] of [
      [["--model", tinyModel], "--from for your own pairs, or --world"],
      [["--from", "pairs", "--output", "o"], "--from takes --model"],
      [["--from", "pairs", "--model", "m"], "--from takes --output"],
      [["--world", "--clip", "x"], "--clip goes with --from"],
      [["--from", "pairs", "--model", "m", "--output", "o", "--batch", "2"], "--batch goes with --world"],
    ] as const)
      expect(await run(...args)).toMatchObject({ status: 2, stderr: expect.stringContaining(message) });
  });
});

/** Of torch 2.13: `torch.manual_seed(7); torch.randperm(5)`. */
const PERMUTATION = [0, 1, 3, 2, 4];

describe("the drawn world", () => {
  test("is measured in a program and on the command line alike", async () => {
    using pipeline = await InstructPix2PixPipeline.fromPretrained(builtInModel, { device: "cpu" });
    const call = { count: 4, numInferenceSteps: 3, seed: 100 };
    const summary = await evaluateWorld({ pipeline, ...call });
    expect(summary.count).toBe(4);
    const { status, stdout } = await ip2pHere(
      ["evaluate", "--world", "--count", "4", "--num_inference_steps", "3", "--device", "cpu", "--json"],
      { cwd: "." },
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toMatchObject({ event: "done", ...summary });
    await expect(evaluateWorld({ pipeline, count: 0 })).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    await expect(evaluateWorld({} as never)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  });
});
