import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { latestValidCheckpoint } from "../../../lib/training/checkpoint/find.js";
import { checkpoints, finalWeights, TemporaryFolder, tinyOptions, trained } from "./tiny-run.js";
import { type Ended, TrainProcess } from "./train-process.js";

const STATUS = { SIGINT: 130, SIGTERM: 143 } as const;

let folder: TemporaryFolder;
let whole: string;

beforeAll(async () => {
  folder = new TemporaryFolder();
  whole = folder.at("whole");
  await trained(tinyOptions(whole));
});
afterAll(() => folder[Symbol.dispose]());

/** Nothing that was reported is lost, and the run can go on to where it would have come without interruption. */
async function expectGoesOn(outputDir: string, ended: Ended): Promise<void> {
  expect(checkpoints(outputDir).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  const latest = await latestValidCheckpoint(outputDir, ({ error }) => expect.unreachable(error.message));
  expect(latest?.step ?? 0).toBe(ended.lastStep);
  await trained(tinyOptions(outputDir, { resumeFromCheckpoint: "latest" }));
  expect(finalWeights(outputDir)).toBe(finalWeights(whole));
}

describe.each(["SIGTERM", "SIGINT"] as const)("%s", (signal) => {
  test("saves a checkpoint of the last whole step and exits", async () => {
    const outputDir = folder.at(signal);
    const run = new TrainProcess(tinyOptions(outputDir));
    await run.heard(({ event, step }) => event === "step" && step === 4);
    await sleep(Math.random() * 50);
    run.kill(signal);
    const ended = await run.ended;
    expect(ended.status, ended.stderr).toBe(STATUS[signal]);
    expect(ended.lastStep).toBeGreaterThanOrEqual(4);
    await expectGoesOn(outputDir, ended);
  });
});

test("a signal while a checkpoint is being written waits for it", async () => {
  const outputDir = folder.at("mid-save");
  const run = new TrainProcess(tinyOptions(outputDir, { checkpointingSteps: 1 }));
  await run.heard(({ event }) => event === "checkpoint");
  const isSaving = () => readdirSync(outputDir).some((name) => name.endsWith(".tmp"));
  while (run.child.exitCode === null && !isSaving()) await sleep(1);
  run.kill("SIGTERM");
  const ended = await run.ended;
  expect(ended.status, ended.stderr).toBe(STATUS.SIGTERM);
  await expectGoesOn(outputDir, ended);
});

test("a signal before the first step leaves nothing behind", async () => {
  const outputDir = folder.at("early");
  const run = new TrainProcess(tinyOptions(outputDir));
  await run.heard(({ event }) => event === "loading");
  run.kill("SIGINT");
  const ended = await run.ended;
  expect(ended.status, ended.stderr).toBe(STATUS.SIGINT);
  await expectGoesOn(outputDir, ended);
});

test("a second signal exits at once, and earlier checkpoints remain valid", async () => {
  const outputDir = folder.at("twice");
  const run = new TrainProcess(tinyOptions(outputDir, { checkpointingSteps: 2 }));
  await run.heard(({ event, step }) => event === "step" && step === 5);
  run.kill("SIGTERM");
  run.kill("SIGINT");
  const ended = await run.ended;
  expect([STATUS.SIGINT, STATUS.SIGTERM]).toContain(ended.status);
  const latest = await latestValidCheckpoint(outputDir, ({ error }) => expect.unreachable(error.message));
  expect(latest!.step).toBeGreaterThanOrEqual(ended.lastCheckpoint);
  await trained(tinyOptions(outputDir, { resumeFromCheckpoint: "latest" }));
  expect(finalWeights(outputDir)).toBe(finalWeights(join(whole)));
});
