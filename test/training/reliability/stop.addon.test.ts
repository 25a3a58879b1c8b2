import { existsSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { setLogger } from "../../../lib/core/logger.js";
import type { StepRecord } from "../../../lib/training/events.js";
import { train } from "../../../lib/training/train.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import {
  checkpoints,
  finalWeights,
  fingerprint,
  metrics,
  TemporaryFolder,
  tinyOptions,
  trained,
  upTo,
} from "./tiny-run.js";

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

const options = (name: string, more: Partial<TrainInput> = {}) => tinyOptions(folder.at(name), more);

async function stepsOf(run: AsyncIterable<StepRecord>): Promise<number[]> {
  const steps: number[] = [];
  for await (const { step } of run) steps.push(step);
  return steps;
}

test("stop() ends a run with a checkpoint and the model of its last step, from which it goes on bit for bit", async () => {
  const run = train({
    ...options("stopped"),
    onStep: ({ step }) => {
      if (step === 4) run.stop();
    },
  });
  const result = await run;
  expect(result).toMatchObject({ step: 4, stopped: true, outputDir: folder.at("stopped") });
  expect(checkpoints(folder.at("stopped"))).toEqual(["checkpoint-4"]);
  // The model is that of as many steps on the same schedule.
  await trained(options("four", { maxTrainSteps: 9, checkpointingSteps: 4 }));
  expect(fingerprint(folder.at("stopped", "checkpoint-4"))).toEqual(fingerprint(folder.at("four", "checkpoint-4")));
  run.stop();

  const resumed = await trained(options("stopped", { resumeFromCheckpoint: "latest" }));
  expect(resumed.result).toMatchObject({ step: 9, stopped: false });
  expect(finalWeights(folder.at("stopped"))).toBe(finalWeights(folder.at("four")));
  expect(metrics(folder.at("stopped"))).toHaveLength(9);
});

test("a run that is stopped before it has made a step makes one", async () => {
  const run = train(options("at-once"));
  run.stop();
  expect(await run).toMatchObject({ step: 1, stopped: true });
  expect(checkpoints(folder.at("at-once"))).toEqual(["checkpoint-1"]);
  expect(existsSync(folder.at("at-once", "model_index.json"))).toBe(true);
});

test("stop() at the last step, or later, changes nothing", async () => {
  const run = train({
    ...options("last", { maxTrainSteps: 2 }),
    onStep: ({ step }) => {
      if (step === 2) run.stop();
    },
  });
  expect(await run).toMatchObject({ step: 2, stopped: false });
  expect(checkpoints(folder.at("last"))).toEqual([]);
});

test("every loop over a run has all steps, when it begins late, and again; leaving one leaves the run", async () => {
  let begun: Promise<number[]> | undefined;
  const run = train({
    ...options("loops", { maxTrainSteps: 5 }),
    onStep: ({ step }) => {
      if (step === 3) begun = stepsOf(run);
    },
  });
  for await (const { step } of run) if (step === 2) break;
  expect((await run).step).toBe(5);
  expect(await begun).toEqual(upTo(5));
  expect(await stepsOf(run)).toEqual(upTo(5));
});

test("a slow loop does not slow the run", async () => {
  const run = train(options("slow", { maxTrainSteps: 4 }));
  let ended = false;
  const whole = run.then(() => {
    ended = true;
  });
  const steps: number[] = [];
  for await (const { step } of run) {
    if (step === 1) await whole; // never, if the run waited for this loop
    expect(ended).toBe(true);
    steps.push(step);
  }
  expect(steps).toEqual(upTo(4));
});

test("a loop throws the run's error after the steps that there were", async () => {
  const run = train({
    ...options("failing", { maxTrainSteps: 5 }),
    onStep: ({ step }) => {
      if (step === 2) throw new Error("enough");
    },
  });
  const seen: number[] = [];
  await expect(
    (async () => {
      for await (const { step } of run) seen.push(step);
    })(),
  ).rejects.toThrow("enough");
  expect(seen).toEqual([1, 2]);
  await expect(run).rejects.toThrow("enough");
});

test("without onEvent a run's warnings go to the logger", async () => {
  const warnings: string[] = [];
  setLogger({ warn: (message) => warnings.push(message) });
  try {
    await train(options("logged", { maxTrainSteps: 1, resumeFromCheckpoint: "latest" }));
  } finally {
    setLogger(null);
  }
  expect(warnings).toEqual([expect.stringMatching(/has no checkpoint; training starts from the beginning$/)]);
});
