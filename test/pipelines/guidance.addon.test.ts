import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { guidanceRows } from "../../lib/conditioning/guidance.js";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { EulerDiscreteScheduler } from "../../lib/schedulers/index.js";
import { fixture } from "../helpers/fixtures.js";

let pipeline: InstructPix2PixPipeline;
beforeAll(async () => {
  pipeline = await InstructPix2PixPipeline.fromPretrained(fixture("ip2p-tiny", "model"));
  pipeline.scheduler = EulerDiscreteScheduler.fromConfig(pipeline.scheduler.config);
});
afterAll(() => pipeline.dispose());

test("the guidance weights of the rows follow the paper's formula", () => {
  for (const [text, image] of [
    [7.5, 1.5],
    [3, 1],
    [2, 2],
    [1.25, 4],
  ] as const) {
    const [full, pictureOnly, none] = [0.3, -0.7, 1.9];
    const expected = none + text * (full - pictureOnly) + image * (pictureOnly - none);
    const sum = guidanceRows(text, image).reduce(
      (all, row) => all + row.weight * (row.text ? full : row.image ? pictureOnly : none),
      0,
    );
    expect(sum).toBeCloseTo(expected, 12);
  }
});

/** Edits, and reports how many rows the UNet was given in every step. */
async function edit(guidanceScale: number, imageGuidanceScale: number) {
  const rows: number[] = [];
  const inputs = new Set<number>();
  const { unet } = pipeline;
  const forward = unet.forward.bind(unet);
  const spy = vi.spyOn(unet, "forward").mockImplementation((sample, timestep, embeddings, options) => {
    rows.push(embeddings!.shape[0]!);
    inputs.add(sample.shape[0]!);
    return forward(sample, timestep, embeddings, options);
  });
  const picture = await Tensor.rand([1, 3, 32, 32], { generator: new Generator("cpu", 1) });
  const { images } = await pipeline.run({
    ...{ prompt: "make it winter", image: picture, seed: 2, numInferenceSteps: 3, outputType: "tensor" },
    ...{ guidanceScale, imageGuidanceScale },
  });
  spy.mockRestore();
  return { values: Array.from(await images.toArray(), Number), rows, inputs: [...inputs] };
}

test.each([
  ["without image guidance two rows are computed, from one input", 3, 1, 2, 1],
  ["with equal scales two rows are computed", 2, 2, 2, 2],
  ["without guidance one row is computed", 1, 1.5, 1, 1],
  ["otherwise three rows are computed, from two inputs", 3, 1.5, 3, 2],
])("%s", async (_, guidanceScale, imageGuidanceScale, rows, inputs) => {
  const result = await edit(guidanceScale, imageGuidanceScale);
  expect(result.inputs).toEqual([inputs]);
  expect(result.rows).toEqual([rows, rows, rows]);
  if (rows !== 2) return;
  // Next to it, where all three rows are computed, is next to the same image.
  const near = await edit(guidanceScale, imageGuidanceScale + 1e-7);
  expect(near.rows).toEqual([3, 3, 3]);
  expect(Math.max(...near.values.map((value, i) => Math.abs(value - result.values[i]!)))).toBeLessThan(1e-4);
});
