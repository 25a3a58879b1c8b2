import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { schedulerFromClassName } from "../../lib/schedulers/registry.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const TOLERANCE = 1e-4;

interface RecordedRun {
  scheduler: string;
  scheduler_config?: Record<string, unknown>;
  prompt: string;
  negative_prompt?: string;
  num_inference_steps: number;
  guidance_scale: number;
  image_guidance_scale: number;
  num_images_per_prompt?: number;
  seed: number;
}

describe.each(["ip2p-tiny", "ip2p-linear-v"])("runs of %s give diffusers' images from the same seeds", (name) => {
  const { runs } = readJson<{ runs: RecordedRun[] }>(fixture(name, "case.json"));
  let expected: Record<string, Tensor>;
  let pipe: InstructPix2PixPipeline;
  beforeAll(async () => {
    expected = await loadSafetensors(fixture(name, "expected.safetensors"));
    pipe = await InstructPix2PixPipeline.fromPretrained(fixture(name, "model"), { device: "cpu" });
  });
  afterAll(() => pipe.dispose());

  test.each(runs.map((run, i) => ({ i, ...run })))("run $i: $scheduler", async (run) => {
    const original = pipe.scheduler;
    pipe.scheduler = schedulerFromClassName(run.scheduler).fromConfig({
      ...original.config,
      ...run.scheduler_config,
    });
    const latents: Tensor[] = [];
    try {
      const { images } = await pipe.run({
        prompt: run.prompt,
        negativePrompt: run.negative_prompt,
        image: fixture(name, "image.png"),
        numInferenceSteps: run.num_inference_steps,
        guidanceScale: run.guidance_scale,
        imageGuidanceScale: run.image_guidance_scale,
        numImagesPerPrompt: run.num_images_per_prompt,
        generator: new Generator("cpu", run.seed),
        outputType: "tensor",
        onStep: async (progress) => {
          latents.push(await progress.latents.clone());
        },
      });
      expect((await deviation(images, expected[`run${run.i}.images`]!)).absolute).toBeLessThan(TOLERANCE);
      const trajectory = await Tensor.cat(await Promise.all(latents.map((x) => x.reshape([1, ...x.shape]))));
      // Latents are larger than pixels, so relative to their range.
      expect((await deviation(trajectory, expected[`run${run.i}.latents`]!)).relative).toBeLessThan(TOLERANCE);
    } finally {
      pipe.scheduler = original;
    }
  });
});
