import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { editorOf, scoreEdits } from "../../lib/evaluation/world.js";
import { listFiles } from "../../lib/files/list-files.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { loadImage } from "../../lib/images/index.js";
import { BUILT_IN_GUIDANCE, builtInPhotoModel } from "../../lib/models/built-in.js";
import { Album, findPhotos } from "../../lib/photos/index.js";
import { judgedPhotos } from "../../lib/photos/score.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { ip2p, Workplace } from "../cli/run-cli.js";
import { fixture, readJson } from "../helpers/fixtures.js";

interface Case {
  prompt: string;
  seed: number;
  num_inference_steps: number;
  guidance_scale: number;
  image_guidance_scale: number;
}

const examples = join(builtInPhotoModel, "examples");
const recorded = readJson<Case>(fixture("built-in-photo", "case.json"));

let pipeline: InstructPix2PixPipeline;
beforeAll(async () => {
  pipeline = await InstructPix2PixPipeline.fromPretrained(builtInPhotoModel);
});
afterAll(() => pipeline.dispose());

test("the built-in model for photographs gives diffusers' image from the same seed", async () => {
  const { images } = await pipeline.run({
    prompt: recorded.prompt,
    seed: recorded.seed,
    image: fixture("built-in-photo", "picture.png"),
    numInferenceSteps: recorded.num_inference_steps,
    guidanceScale: recorded.guidance_scale,
    imageGuidanceScale: recorded.image_guidance_scale,
    outputType: "tensor",
  });
  const [ours, its] = await Promise.all([
    images.toArray(),
    (await loadSafetensors(fixture("built-in-photo", "expected.safetensors"))).images!.toArray(),
  ]);
  expect(ours.length).toBe(its.length);
  let largest = 0;
  for (const [i, value] of ours.entries()) largest = Math.max(largest, Math.abs(Number(value) - Number(its[i])));
  expect(largest).toBeLessThan(1e-4);
});

test("the built-in model for photographs is at most 14 MB", async () => {
  const files = await listFiles(builtInPhotoModel);
  expect(files).toContain("model_index.json");
  expect(files.reduce((sum, file) => sum + statSync(join(builtInPhotoModel, file)).size, 0)).toBeLessThan(14e6);
});

test("it succeeds far more often than chance", async () => {
  const { usable } = await findPhotos(examples, 64);
  const settings = { numInferenceSteps: 10, ...BUILT_IN_GUIDANCE };
  const edits = judgedPhotos(new Album(examples, usable, 64), 2000, 8);
  const results = await scoreEdits(edits, editorOf(pipeline, settings), { batch: 8 });
  // By chance one of 17 images is nearest; five of eight are then one case in thirty thousand.
  expect(results.filter(({ score }) => score.success).length).toBeGreaterThanOrEqual(5);
});

test("ip2p edit uses it by default, says so, and reduces large photographs to its size", async () => {
  using place = new Workplace();
  const image = await (await loadImage(join(examples, "cat.jpg"))).resize(600, 400, "lanczos");
  await image.save(place.at("photo.png"));
  const edit = [
    "edit",
    "--image",
    "photo.png",
    "--prompt",
    "make it sepia",
    "--num_inference_steps",
    "2",
    "--seed",
    "1",
  ];
  const { status, stdout } = await ip2p([...edit, "--output", "out.png"], { cwd: place.folder });
  expect(stdout).toMatch(/no --model is given: the small built-in one for photographs is used/);
  expect(status).toBe(0);
  const out = await loadImage(place.at("out.png"));
  expect([out.width, out.height]).toEqual([256, 172]);

  const same = ["--model", builtInPhotoModel, "--guidance_scale", "2", "--output", "same.png"];
  expect(await ip2p([...edit, ...same], { cwd: place.folder })).toMatchObject({ status: 0 });
  expect((await loadImage(place.at("same.png"))).data).toEqual(out.data);
});
