import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { listFiles } from "../../lib/files/list-files.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { loadImage } from "../../lib/images/index.js";
import { builtInModel } from "../../lib/models/built-in.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { drawScene, EditJudge, worldExample } from "../../lib/world/index.js";
import { Random } from "../../lib/world/random.js";
import { ip2p, Workplace } from "../cli/run-cli.js";
import { fixture, readJson } from "../helpers/fixtures.js";

interface Case {
  prompt: string;
  seed: number;
  num_inference_steps: number;
  guidance_scale: number;
  image_guidance_scale: number;
}

const picture = fixture("built-in", "picture.png");
const recorded = readJson<Case>(fixture("built-in", "case.json"));
const settings = {
  numInferenceSteps: recorded.num_inference_steps,
  guidanceScale: recorded.guidance_scale,
  imageGuidanceScale: recorded.image_guidance_scale,
};

let pipeline: InstructPix2PixPipeline;
beforeAll(async () => {
  pipeline = await InstructPix2PixPipeline.fromPretrained(builtInModel);
});
afterAll(() => pipeline.dispose());

test("the built-in model gives diffusers' image from the same seed", async () => {
  const { prompt, seed } = recorded;
  const { images } = await pipeline.run({ prompt, seed, image: picture, ...settings, outputType: "tensor" });
  const [ours, its] = await Promise.all([
    images.toArray(),
    (await loadSafetensors(fixture("built-in", "expected.safetensors"))).images!.toArray(),
  ]);
  expect(ours.length).toBe(its.length);
  let largest = 0;
  for (const [i, value] of ours.entries()) largest = Math.max(largest, Math.abs(Number(value) - Number(its[i])));
  expect(largest).toBeLessThan(1e-4);
});

test("the built-in model is at most 12 MB", async () => {
  const files = await listFiles(builtInModel);
  expect(files).toContain("model_index.json");
  expect(files.reduce((sum, file) => sum + statSync(join(builtInModel, file)).size, 0)).toBeLessThan(12e6);
});

test("the built-in model succeeds far more often than chance", async () => {
  let successes = 0;
  const count = 8;
  for (let index = 0; index < count; index++) {
    const { scene, edit } = worldExample(2000, index);
    const { images } = await pipeline.run({
      prompt: edit.instruction,
      image: await drawScene(scene),
      generator: new Generator("cpu", index),
      ...settings,
    });
    if (new EditJudge(scene, edit, new Random(2000, 10_000 + index)).score(images[0]!).success) successes++;
  }
  // By chance one of 17 images is nearest; five of eight are then one case in thirty thousand.
  expect(successes).toBeGreaterThanOrEqual(5);
});

test("ip2p edit uses the built-in model by default, and says so", async () => {
  using place = new Workplace();
  const args = [
    "edit",
    "--image",
    picture,
    "--prompt",
    recorded.prompt,
    "--output",
    "out.png",
    "--num_inference_steps",
    "2",
  ];
  const { status, stdout } = await ip2p(args, { cwd: place.folder });
  expect(status).toBe(0);
  expect(stdout).toMatch(/no --model is given: the small built-in one for drawings of shapes is used/);
  const { width, height } = await loadImage(place.at("out.png"));
  expect([width, height]).toEqual([64, 64]);
});
