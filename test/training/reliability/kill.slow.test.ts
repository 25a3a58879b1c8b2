import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { latestValidCheckpoint } from "../../../lib/training/checkpoint/find.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { finalWeights, fingerprint, metrics, TemporaryFolder, tinyOptions, trained, upTo } from "./tiny-run.js";
import { type Ended, TrainProcess } from "./train-process.js";

const STEPS = 16;
const INTERVAL = 2;

test.each<[string, Partial<TrainInput>]>([
  ["a run", {}],
  ["a run that trains a LoRA", { lora: true, rank: 3, loraDropout: 0.2, trainTextEncoder: true }],
])("killed at random moments and restarted, %s gives the same bits as an uninterrupted one", async (_, more) => {
  using folder = new TemporaryFolder();
  const [whole, killed] = [folder.at("whole"), folder.at("killed")];
  const options = { maxTrainSteps: STEPS, checkpointingSteps: INTERVAL, checkpointsTotalLimit: 2, ...more };
  await trained(tinyOptions(whole, options));

  let kills = 0;
  let before: Ended | undefined;
  for (let done = false; !done; ) {
    const run = new TrainProcess(tinyOptions(killed, { ...options, resumeFromCheckpoint: "latest" }));
    // Sometimes it does not even get to its first step.
    const steps = Math.floor(Math.random() * 10);
    let heard = 0;
    await run.heard(({ event }) => (steps === 0 ? event === "loading" : event === "step" && ++heard === steps));
    await sleep(Math.random() * 100);
    run.kill("SIGKILL");
    const ended = await run.ended;
    done = ended.status === 0;
    if (!done) {
      expect(ended.status, ended.stderr).toBe("SIGKILL");
      kills += 1;
      const latest = await latestValidCheckpoint(killed, ({ error }) => expect.unreachable(error.message));
      expect(latest?.step ?? 0).toBeGreaterThanOrEqual(ended.lastCheckpoint);
    }
    if (before && ended.resumedAt > 0) {
      expect(ended.resumedAt).toBeGreaterThanOrEqual(before.lastCheckpoint);
      // At most one interval is done again; a step that is over need not have been reported.
      expect(before.lastStep - ended.resumedAt).toBeLessThanOrEqual(INTERVAL);
    }
    if (ended.told.length > 0) before = ended;
  }

  expect(kills).toBeGreaterThan(0);
  expect(finalWeights(killed)).toBe(finalWeights(whole));
  const last = `checkpoint-${STEPS}`;
  expect(fingerprint(join(killed, last))).toEqual(fingerprint(join(whole, last)));
  expect(metrics(killed).map(({ step }) => step)).toEqual(upTo(STEPS));
  expect(metrics(killed).map(({ train_loss }) => train_loss)).toEqual(
    metrics(whole).map(({ train_loss }) => train_loss),
  );
});
