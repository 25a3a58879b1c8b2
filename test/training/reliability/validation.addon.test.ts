import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { InstructPix2PixError } from "../../../lib/core/errors.js";
import { RgbImage } from "../../../lib/images/index.js";
import { InstructPix2PixPipeline } from "../../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { MetricsFile } from "../../../lib/tracking/metrics-file.js";
import type { TrainEvent } from "../../../lib/training/events.js";
import { type TrainCallbacks, train } from "../../../lib/training/train.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import {
  checkpoints,
  expectError,
  finalWeights,
  metrics,
  TemporaryFolder,
  tinyOptions,
  tinyPairs,
  trained,
  upTo,
  watch,
} from "./tiny-run.js";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = new TemporaryFolder();
  await trained(options("uninterrupted"));
});
afterAll(() => folder[Symbol.dispose]());

const picture = join(tinyPairs, "images", readdirSync(join(tinyPairs, "images"))[0]!);

function options(name: string, more: Partial<TrainInput> = {}): TrainInput {
  return tinyOptions(folder.at(name), {
    ...{ gradientAccumulationSteps: 1, trainBatchSize: 5, maxTrainSteps: undefined, numTrainEpochs: 2 },
    ...{ valImageUrl: picture, validationPrompt: "make it snow", numValidationImages: 1, ...more },
  });
}

const stepsValidated = (events: readonly TrainEvent[]) =>
  events.flatMap((event) => (event.type === "validation" ? [event.step] : []));

test("callbacks that are not functions are refused before anything is loaded", async () => {
  for (const given of [{ onStep: 5 }, { onStep: null }, { onEvent: {} }] as unknown as TrainCallbacks[])
    await expect(train({ ...options("callbacks"), ...given })).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
      message: expect.stringMatching(/^on(Step|Event) must be a function/),
    });
  expect(existsSync(folder.at("callbacks"))).toBe(false);
});

test("if the model cannot be saved, the checkpoint is still kept", async () => {
  const outputDir = folder.at("index-folder");
  const onStep = () => void mkdirSync(join(outputDir, "model_index.json"), { recursive: true });
  const message = expectError(await watch({ ...options("index-folder"), onStep }), "ERR_IO");
  expect(message).toMatch(/^cannot save the model in .*: a folder has the name of a file$/);
  expect(checkpoints(outputDir)).toEqual(["checkpoint-4"]);
});

describe("an unusable validation image is refused before the first step", () => {
  test.each<[string, string | (() => Promise<string>), string, RegExp]>([
    ["does not exist", "no-such.png", "ERR_FILE_NOT_FOUND", /valImageUrl: the image "no-such\.png" does not exist/],
    ["is at a dead address", "http://127.0.0.1:9/a.png", "ERR_DOWNLOAD", /valImageUrl: /],
    ["is a text file", () => Promise.resolve(join(tinyPairs, "metadata.jsonl")), "ERR_IMAGE", /valImageUrl: /],
    ["is a folder", () => Promise.resolve(folder.path), "ERR_IMAGE", /valImageUrl: .*is a folder/],
    [
      "is too small",
      async () => {
        await new RgbImage(1, 40, new Uint8Array(120)).save(folder.at("small.png"));
        return folder.at("small.png");
      },
      "ERR_IMAGE",
      /valImageUrl: .*1×40.*too small/,
    ],
  ])("one that %s", async (_, image, code, message) => {
    const valImageUrl = typeof image === "string" ? image : await image();
    const seen = await watch(options("refused", { valImageUrl }));
    expect(expectError(seen, code as "ERR_IMAGE")).toMatch(message);
    expect(seen.events.map(({ type }) => type)).not.toContain("started");
    expect(readdirSync(folder.at("refused"))).toEqual([]);
  });
});

test("validation runs after the chosen epochs and once at the end, after the model is saved", async () => {
  const { events } = await trained(options("every-third", { numTrainEpochs: 5, validationEpochs: 3 }));
  expect(stepsValidated(events)).toEqual([2, 8, 10]);
  const order = events.map(({ type }) => type);
  expect(order.indexOf("saved")).toBeLessThan(order.lastIndexOf("validation"));
  expect(stepsValidated((await trained(options("cut-short", { maxTrainSteps: 3 }))).events)).toEqual([2, 3]);
});

test("the validation image is read once, at the start", async () => {
  const valImageUrl = folder.at("soon-gone.png");
  await (await RgbImage.load(picture)).save(valImageUrl);
  const onStep = () => rmSync(valImageUrl, { force: true });
  expect(stepsValidated((await trained({ ...options("gone", { valImageUrl }), onStep })).events)).toEqual([2, 4]);
});

test("an unwritable folder causes a warning each time, and training continues", async () => {
  const outputDir = folder.at("no-folder");
  const onStep = () => writeFileSync(join(outputDir, "validation"), "in the way");
  const { warnings, events } = await trained({ ...options("no-folder"), onStep });
  expect(warnings).toHaveLength(2);
  expect(warnings[0]).toMatch(/^validation after step 2 failed: cannot write validation images to .*training goes on$/);
  expect(stepsValidated(events)).toEqual([]);
  expect(finalWeights(outputDir)).toBe(finalWeights(folder.at("uninterrupted")));
});

test("out of memory causes a warning, and the training weights are restored", async () => {
  const failure = new InstructPix2PixError("ERR_OUT_OF_MEMORY", "no memory");
  const edit = vi.spyOn(InstructPix2PixPipeline.prototype, "run").mockRejectedValue(failure);
  const { warnings } = await trained(options("no-memory"));
  edit.mockRestore();
  expect(warnings).toEqual([2, 4].map((step) => `validation after step ${step} failed: no memory; training goes on`));
  expect(finalWeights(folder.at("no-memory"))).toBe(finalWeights(folder.at("uninterrupted")));
});

test("if metrics cannot be written, the run saves a checkpoint and ends", async () => {
  const failure = new InstructPix2PixError("ERR_IO", "no room");
  const write = vi.spyOn(MetricsFile.prototype, "log").mockImplementation(async (_, step) => {
    if (step === 3) throw failure;
  });
  const flush = vi.spyOn(MetricsFile.prototype, "flush").mockRejectedValue(failure);
  const seen = await watch(options("no-metrics"));
  write.mockRestore();
  flush.mockRestore();
  expect(seen.error).toBe(failure);
  expect(checkpoints(folder.at("no-metrics"))).toEqual(["checkpoint-3"]);
});

describe("an error thrown by a callback ends the run after a checkpoint", () => {
  const fail = (thrown: unknown) => {
    throw thrown;
  };
  const abort = new DOMException("enough", "AbortError");
  const cases: [string, unknown, TrainCallbacks][] = [
    ["onStep throws an error", abort, { onStep: ({ step }) => (step === 3 ? fail(abort) : undefined) }],
    [
      "onStep rejects with nothing",
      undefined,
      { onStep: async ({ step }) => (step === 3 ? fail(undefined) : undefined) },
    ],
    ["onEvent throws a text", "mine", { onEvent: ({ type }) => (type === "validation" ? fail("mine") : undefined) }],
    [
      "onEvent rejects with a number",
      3,
      { onEvent: async ({ type }) => (type === "validation" ? fail(3) : undefined) },
    ],
  ];

  test.each(cases)("%s", async (name, thrown, callbacks) => {
    const input = options(name);
    const outcome = await train({ ...input, ...callbacks }).then(
      () => expect.unreachable("it went on"),
      (error: unknown) => ({ error }),
    );
    expect(outcome).toEqual({ error: thrown });
    const [last] = checkpoints(input.outputDir!).slice(-1);
    expect(last).toMatch(/^checkpoint-[23]$/);
    await trained({ ...input, resumeFromCheckpoint: "latest" });
    expect(finalWeights(input.outputDir!)).toBe(finalWeights(folder.at("uninterrupted")));
    expect(metrics(input.outputDir!).map(({ step }) => step)).toEqual(upTo(4));
  });

  test("an error thrown before the first step ends the run at once", async () => {
    const thrown = new Error("mine");
    const onEvent = () => {
      throw thrown;
    };
    await expect(train({ ...options("at-once"), onEvent })).rejects.toBe(thrown);
    expect(existsSync(folder.at("at-once", "run.json"))).toBe(false);
  });

  test("an error thrown for the last event is reported after the model is saved", async () => {
    const onEvent = ({ type }: TrainEvent) => {
      if (type === "saved") throw new Error("mine");
    };
    await expect(train({ ...options("late"), onEvent })).rejects.toThrow("mine");
    expect(checkpoints(folder.at("late"))).toEqual(["checkpoint-4"]);
    expect(finalWeights(folder.at("late"))).toBe(finalWeights(folder.at("uninterrupted")));
  });
});
