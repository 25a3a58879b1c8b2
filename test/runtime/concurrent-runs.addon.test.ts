import { afterAll, beforeAll, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import type { EditOptions, InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { schedulerFromClassName } from "../../lib/schedulers/registry.js";
import { fixture } from "../helpers/fixtures.js";
import { bits, quickEdit, tinyPipeline } from "./tiny.js";

/** Runs that differ in everything, with schedulers that remember earlier steps among them. */
const RUNS: { scheduler: string; options: Partial<EditOptions> }[] = [
  { scheduler: "EulerAncestralDiscreteScheduler", options: { seed: 1, prompt: "make it a snowy day" } },
  { scheduler: "PNDMScheduler", options: { seed: 2, prompt: "turn it into a painting", numInferenceSteps: 6 } },
  { scheduler: "DPMSolverMultistepScheduler", options: { seed: 3, numInferenceSteps: 5, guidanceScale: 3 } },
  { scheduler: "UniPCMultistepScheduler", options: { seed: 4, numInferenceSteps: 4, negativePrompt: "blurry" } },
  { scheduler: "LMSDiscreteScheduler", options: { seed: 5, numInferenceSteps: 5, numImagesPerPrompt: 2 } },
  { scheduler: "HeunDiscreteScheduler", options: { seed: 6, image: fixture("ip2p-linear-v", "image.png") } },
  { scheduler: "DDPMScheduler", options: { seed: 7, imageGuidanceScale: 2 } },
  { scheduler: "DDIMScheduler", options: { seed: 8, guidanceScale: 1, numInferenceSteps: 3 } },
];

let pipe: InstructPix2PixPipeline;
let alone: Buffer[];
beforeAll(async () => {
  pipe = await tinyPipeline();
  alone = [];
  for (const run of RUNS) alone.push(await start(run));
});
afterAll(() => pipe.dispose());

/** Begins a run; it takes the pipeline's scheduler as it is now. */
function start({ scheduler, options }: (typeof RUNS)[number]): Promise<Buffer> {
  pipe.scheduler = schedulerFromClassName(scheduler).fromConfig(pipe.scheduler.config);
  const run = pipe.run({ ...quickEdit({ numInferenceSteps: 3, ...options }), outputType: "tensor" });
  return run.then(({ images }) => bits(images));
}

test("the runs compared in this file have different results", () => {
  expect(new Set(alone.map((image) => image.toString("base64"))).size).toBe(RUNS.length);
});

test("two concurrent runs on one pipeline give the same bits as alone", async () => {
  for (const [a, b] of [
    [1, 2],
    [2, 2],
    [4, 0],
  ] as const)
    expect(await Promise.all([start(RUNS[a]!), start(RUNS[b]!)])).toEqual([alone[a], alone[b]]);
});

test("eight concurrent runs, one aborted and one refused, give the same results as alone", async () => {
  const controller = new AbortController();
  const onStep = ({ step }: { step: number }) => {
    if (step === 3) controller.abort();
  };
  const aborted = pipe.run(quickEdit({ signal: controller.signal, numInferenceSteps: 200, onStep }));
  const refused = pipe.run(quickEdit({ image: "/no/such/picture.png" }));
  const [ending, refusal, ...images] = await Promise.all([
    aborted.catch((error) => error),
    refused.catch((error) => error),
    ...RUNS.map(start),
  ]);
  expect(ending).toMatchObject({ code: "ERR_ABORTED" });
  expect(refusal).toMatchObject({ name: "InstructPix2PixError" });
  expect(images).toEqual(alone);
});

test("runs with generators of their own draw from them in their own order", async () => {
  const options = { numInferenceSteps: 3, outputType: "tensor", seed: undefined } as const;
  pipe.scheduler = schedulerFromClassName("EulerAncestralDiscreteScheduler").fromConfig(pipe.scheduler.config);
  const with_ = (seed: number) => ({ ...quickEdit(), ...options, generator: new Generator("cpu", seed) });
  const one = async (seed: number) => bits((await pipe.run(with_(seed))).images);
  const expected = [await one(11), await one(12)];
  expect(await Promise.all([one(11), one(12)])).toEqual(expected);
});

test("replacing a component does not affect a run in progress", async () => {
  const run = start(RUNS[3]!);
  const { unet } = pipe;
  pipe.unet = Object.freeze(Object.create(unet, { forward: { value: () => Promise.reject(new Error("replaced")) } }));
  pipe.scheduler = schedulerFromClassName("DDIMScheduler").fromConfig({});
  const ended = await run;
  pipe.unet = unet;
  expect(ended).toEqual(alone[3]);
});
