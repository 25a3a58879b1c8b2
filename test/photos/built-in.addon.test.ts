import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { editorOf, scoreEdits } from "../../lib/evaluation/world.js";
import { loadImage } from "../../lib/images/index.js";
import { BUILT_IN_GUIDANCE, builtInPhotoModel } from "../../lib/models/built-in.js";
import { Album, findPhotos } from "../../lib/photos/index.js";
import { judgedPhotos } from "../../lib/photos/score.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { ip2p, Workplace } from "../cli/run-cli.js";
import { expectRecordedImage, expectSmaller } from "../helpers/built-in-model.js";

const examples = join(builtInPhotoModel, "examples");

let pipeline: InstructPix2PixPipeline;
beforeAll(async () => {
  pipeline = await InstructPix2PixPipeline.fromPretrained(builtInPhotoModel);
});
afterAll(() => pipeline.dispose());

test("the built-in model for photographs gives diffusers' image from the same seed", () =>
  expectRecordedImage(pipeline, "built-in-photo"));

test("the built-in model for photographs is at most 14 MB", () => expectSmaller(builtInPhotoModel, 14e6));

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
