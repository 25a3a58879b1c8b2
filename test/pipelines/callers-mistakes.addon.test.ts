import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import {
  AutoPipelineForImage2Image,
  EulerDiscreteScheduler,
  type InstructPix2PixPipeline,
  RgbImage,
  UniPCMultistepScheduler,
} from "../../lib/index.js";
import { fixture } from "../helpers/fixtures.js";
import { quickEdit, tinyPipeline } from "../runtime/tiny.js";

let pipe: InstructPix2PixPipeline;
const warnings: string[] = [];
const listen = (warning: Error) => warnings.push(warning.message);

beforeAll(async () => {
  process.on("warning", listen);
  pipe = await tinyPipeline();
});
afterEach(() => warnings.splice(0));
afterAll(() => {
  process.off("warning", listen);
  pipe.dispose();
});

it.each<[unknown, string]>([
  ["EulerAncestralDiscrete", 'not "EulerAncestralDiscrete": give EulerAncestralDiscreteScheduler.fromConfig'],
  ["UniPC", 'not "UniPC": give UniPCMultistepScheduler.fromConfig(pipe.scheduler.config)'],
  ["euler_a", 'not "euler_a": give EulerDiscreteScheduler.fromConfig'],
  [UniPCMultistepScheduler, "not a function: give UniPCMultistepScheduler.fromConfig"],
  [undefined, "not undefined: give EulerDiscreteScheduler.fromConfig"],
])("a scheduler that is none is refused in words: %s", (given, message) => {
  const before = pipe.scheduler;
  expect(() => {
    pipe.scheduler = given as never;
  }).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining(message) }));
  expect(pipe.scheduler).toBe(before);
  const other = EulerDiscreteScheduler.fromConfig(before.config);
  pipe.scheduler = other;
  expect(pipe.components.scheduler).toBe(other);
  pipe.scheduler = before;
});

it("images of several sizes are resized to the first one's, with one warning", async () => {
  const picture = (width: number, height: number) => new RgbImage(width, height, new Uint8Array(width * height * 3));
  const run = (...image: RgbImage[]) =>
    pipe.run(quickEdit({ image, prompt: image.map(() => "x"), numInferenceSteps: 1 }));
  const { images } = await run(picture(32, 24), picture(16, 16), picture(32, 24), picture(20, 16));
  await new Promise(setImmediate);
  expect(images.map(({ width, height }) => [width, height])).toEqual(Array(4).fill([32, 24]));
  expect(warnings).toEqual([
    "images of 16×16, 20×16 pixels are resized to the size of the first, 32×24, without cutting",
  ]);
  warnings.splice(0);
  await run(picture(32, 24), picture(32, 24));
  await new Promise(setImmediate);
  expect(warnings).toEqual([]);
});

it("tells a time limit from an abort by the cause", async () => {
  const first = async (signal: AbortSignal, onStep?: () => void) =>
    pipe.run(quickEdit({ numInferenceSteps: 1000, signal, onStep })).then(
      () => "no error",
      (error: Error) => [(error as { code?: string }).code, (error.cause as Error).name, error.message],
    );
  const limit = AbortSignal.timeout(1);
  // The limit is over, however fast the machine is: the callback waits for it.
  const over = () => new Promise<void>((resolve) => limit.addEventListener("abort", () => resolve(), { once: true }));
  const timedOut = await first(limit, () => (limit.aborted ? undefined : over()) as never);
  expect(timedOut).toEqual(["ERR_ABORTED", "TimeoutError", "the operation was aborted: its time limit is over"]);
  const client = new AbortController();
  const aborted = await first(client.signal, () => client.abort());
  expect(aborted).toEqual(["ERR_ABORTED", "AbortError", "the operation was aborted"]);
  const combined = AbortSignal.any([
    new AbortController().signal,
    AbortSignal.abort(new DOMException("x", "TimeoutError")),
  ]);
  expect(await first(combined)).toEqual(timedOut);
});

it.each(["text2img", "sdxl-img2img"])(
  "%s: clipSkip with weighted prompts is refused before anything is computed",
  async (model) => {
    using pipe = await AutoPipelineForImage2Image.fromPretrained(fixture(model, "model"), { device: "cpu" });
    const encode = vi.spyOn(pipe.vae, "encode");
    const image = new RgbImage(32, 32, new Uint8Array(32 * 32 * 3));
    await expect(
      pipe.run({ image, prompt: "a (cat)1.3", promptWeighting: "compel", clipSkip: 1, numInferenceSteps: 2 }),
    ).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
      message: "clipSkip cannot be combined with promptWeighting",
    });
    expect(encode).not.toHaveBeenCalled();
  },
);
