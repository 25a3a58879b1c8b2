import { afterAll, beforeAll, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import type { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { EulerAncestralDiscreteScheduler } from "../../lib/schedulers/index.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { tinyPipeline } from "../runtime/tiny.js";

interface RecordedCase {
  name: string;
  images: number;
  list: boolean;
  prompts: string[];
  count: number;
  output: "tensor" | "latent";
  replace: [factor: number, shift: number] | null;
}

const { cases } = readJson<{ cases: RecordedCase[] }>(fixture("pipeline-inputs", "cases.json"));
let pipe: InstructPix2PixPipeline;
let tensors: Record<string, Tensor>;
beforeAll(async () => {
  tensors = await loadSafetensors(fixture("pipeline-inputs", "expected.safetensors"));
  pipe = await tinyPipeline();
  pipe.scheduler = EulerAncestralDiscreteScheduler.fromConfig(pipe.scheduler.config);
});
afterAll(() => pipe.dispose());

test.each(cases.map((one, i) => ({ i, ...one })))("$name: as diffusers", async (recorded) => {
  const { i, images: count, list, prompts, replace } = recorded;
  const image = Array.from({ length: count }, (_, k) => tensors[`${i}.image.${k}`]!);
  const kept: Tensor[] = [];
  const { images } = await pipe.run({
    image: list ? image : image[0]!,
    prompt: prompts,
    numInferenceSteps: 3,
    numImagesPerPrompt: recorded.count,
    generator: new Generator("cpu", i),
    outputType: recorded.output,
    onStep: async ({ latents }) => {
      if (!replace) return;
      using scaled = await latents.mul(replace[0]);
      const shifted = await scaled.add(replace[1]);
      kept.push(shifted);
      return { latents: shifted };
    },
  });
  const expected = tensors[`${i}.out`]!;
  // Where several prompts, images and results meet, diffusers pairs prompt and image otherwise in the rows between.
  const pairedOtherwise = !list && prompts.length === 2 && recorded.count === 2;
  expect(images.shape).toEqual(expected.shape);
  for (const row of pairedOtherwise ? [0, 3] : Array(expected.shape[0]!).keys()) {
    using actualRow = await images.slice(0, row, row + 1);
    using expectedRow = await expected.slice(0, row, row + 1);
    const { absolute, relative } = await deviation(actualRow, expectedRow);
    expect(recorded.output === "latent" ? relative : absolute).toBeLessThan(1e-4);
  }
  // What a callback returned is still its own.
  for (const tensor of kept) expect(tensor.disposed).toBe(false);
  expect(kept).toHaveLength(replace ? 3 : 0);
});
