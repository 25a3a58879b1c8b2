import { afterAll, beforeAll, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { loadImage } from "../../lib/images/index.js";
import { builtInModel } from "../../lib/models/built-in.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { drawScene, EditJudge, worldExample } from "../../lib/world/index.js";
import { Random } from "../../lib/world/random.js";
import { ip2p, Workplace } from "../cli/run-cli.js";
import { expectRecordedImage, expectSmaller, recordedEdit } from "../helpers/built-in-model.js";

const { picture, prompt, settings } = recordedEdit("built-in");

let pipeline: InstructPix2PixPipeline;
beforeAll(async () => {
  pipeline = await InstructPix2PixPipeline.fromPretrained(builtInModel);
});
afterAll(() => pipeline.dispose());

test("the built-in model gives diffusers' image from the same seed", () => expectRecordedImage(pipeline, "built-in"));

test("the built-in model is at most 12 MB", () => expectSmaller(builtInModel, 12e6));

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
  const args = ["edit", "--image", picture, "--prompt", prompt, "--output", "out.png", "--num_inference_steps", "2"];
  const { status, stdout } = await ip2p(args, { cwd: place.folder });
  expect(status).toBe(0);
  expect(stdout).toMatch(/no --model is given: the small built-in one for drawings of shapes is used/);
  const { width, height } = await loadImage(place.at("out.png"));
  expect([width, height]).toEqual([64, 64]);
});
