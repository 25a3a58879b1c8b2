import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Generator, InstructPix2PixPipeline, loadSafetensors, Tensor } from "../../dist/index.js";
import { schedulerFromClassName } from "../../dist/schedulers/registry.js";
import { addon, deviation, device, fixture, MODELS, readJson, report, scientific, TOLERANCE } from "./setting.mjs";

const load = (name, options) => InstructPix2PixPipeline.fromPretrained(fixture(name, "model"), { device, ...options });

/** The call that a recorded run was made with. */
function callOf(name, run) {
  return {
    prompt: run.prompt,
    negativePrompt: run.negative_prompt,
    image: fixture(name, "image.png"),
    numInferenceSteps: run.num_inference_steps,
    guidanceScale: run.guidance_scale,
    imageGuidanceScale: run.image_guidance_scale,
    numImagesPerPrompt: run.num_images_per_prompt,
    // On the CPU, so that its numbers are the same everywhere.
    generator: new Generator("cpu", run.seed),
    outputType: "tensor",
  };
}

for (const name of MODELS)
  describe(`runs of ${name} give diffusers' images from the same seeds`, async () => {
    const recorded = await loadSafetensors(fixture(name, "expected.safetensors"));
    const pipe = await load(name);
    const { config } = pipe.scheduler;
    for (const [i, run] of readJson(fixture(name, "case.json")).runs.entries())
      test(`run ${i}: ${run.scheduler}`, async () => {
        pipe.scheduler = schedulerFromClassName(run.scheduler).fromConfig({ ...config, ...run.scheduler_config });
        const { images } = await pipe.run(callOf(name, run));
        const { absolute } = await deviation(images, recorded[`run${i}.images`]);
        const limit = TOLERANCE.float32.pictures;
        report(`${name} run ${i} ${run.scheduler}`, scientific(absolute), scientific(limit));
        assert.ok(absolute < limit, `deviates by ${absolute}`);
      });
  });

for (const dtype of ["bfloat16", "float16"])
  test(`a run in ${dtype} stays near the one in float32`, async () => {
    const pipe = await load("ip2p-tiny", { dtype });
    const [run] = readJson(fixture("ip2p-tiny", "case.json")).runs;
    const recorded = await loadSafetensors(fixture("ip2p-tiny", "expected.safetensors"));
    const { images } = await pipe.run(callOf("ip2p-tiny", run));
    const [a, b] = [await images.toArray(), await recorded["run0.images"].toArray()];
    const mean = a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;
    report(`ip2p-tiny run 0 ${dtype}, mean deviation`, scientific(mean), scientific(0.02));
    assert.ok(mean < 0.02, `deviates by ${mean} on average`);
    pipe.dispose();
  });

test("two concurrent runs give the same results as alone, an abort stops a run, and no tensor remains", async () => {
  const pipe = await load("ip2p-tiny");
  const run = (seed, more) =>
    pipe.run({ prompt: "x", image: fixture("ip2p-tiny", "image.png"), numInferenceSteps: 4, seed, ...more });
  const pixels = async (seed) => (await run(seed)).images[0].data;
  const alone = [await pixels(1), await pixels(2)];
  const { objects } = addon.memoryUsage();
  assert.deepEqual(await Promise.all([pixels(1), pixels(2)]), alone);

  const controller = new AbortController();
  let steps = 0;
  const onStep = () => {
    if (++steps === 2) controller.abort("enough");
  };
  const aborted = run(3, { numInferenceSteps: 50, signal: controller.signal, onStep });
  await assert.rejects(aborted, { code: "ERR_ABORTED", cause: "enough" });
  assert.equal(steps, 2);
  // Garbage of earlier tests may have been collected meanwhile.
  assert.ok(addon.memoryUsage().objects <= objects);
  pipe.dispose();
});

test("a request for too much memory is ERR_OUT_OF_MEMORY, and the device still works", async () => {
  const pipe = await load("ip2p-tiny");
  const edit = () => pipe.run({ prompt: "x", image: fixture("ip2p-tiny", "image.png"), numInferenceSteps: 2, seed: 0 });
  const before = (await edit()).images[0].data;
  await assert.rejects(Tensor.zeros([2 ** 42], { device }), {
    name: "InstructPix2PixError",
    code: "ERR_OUT_OF_MEMORY",
    message: /^[^\n]*$/,
  });
  assert.deepEqual((await edit()).images[0].data, before);
  pipe.dispose();
});
