import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { packTar, type TarHeader } from "modern-tar";
import { expect, test } from "vitest";
import { RgbImage } from "../../../lib/index.js";
import { latestValidCheckpoint } from "../../../lib/training/checkpoint/find.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { finalWeights, fingerprint, metrics, TemporaryFolder, tinyOptions, trained, upTo } from "./tiny-run.js";
import { type Ended, TrainProcess } from "./train-process.js";

/** Three shards with pairs of three proportions; the list of them. */
async function tarShards(folder: TemporaryFolder): Promise<string> {
  const sizes = [
    [32, 32],
    [48, 24],
    [24, 48],
  ] as const;
  for (const shard of [0, 1, 2]) {
    const members: { header: TarHeader; body: Uint8Array }[] = [];
    const add = (name: string, body: Uint8Array) => members.push({ header: { name, size: body.length }, body });
    for (const [i, [width, height]] of [...sizes, ...sizes].entries()) {
      const data = Uint8Array.from({ length: width * height * 3 }, (_, k) => (k * (6 * shard + i + 3)) % 256);
      const png = await new RgbImage(width, height, data).encode("png");
      for (const column of ["input_image", "edited_image"]) add(`${i}.${column}.png`, png);
      add(`${i}.edit_prompt.txt`, Buffer.from(`make it ${shard} ${i}`));
    }
    writeFileSync(folder.at(`${shard}.tar`), await packTar(members));
  }
  return folder.at("{0..2}.tar");
}

const STEPS = 16;
const INTERVAL = 2;

test.each<[string, Partial<TrainInput>]>([
  ["a run", {}],
  [
    "a run that trains a LoRA from tar shards in buckets",
    {
      ...{ lora: true, rank: 3, loraDropout: 0.2, trainTextEncoder: true },
      ...{ trainDataDir: undefined, trainShards: "shards", shardCache: 0, aspectRatioBuckets: true, bucketStep: 8 },
    },
  ],
])("killed at random moments and restarted, %s gives the same bits as an uninterrupted one", async (_, more) => {
  using folder = new TemporaryFolder();
  const [whole, killed] = [folder.at("whole"), folder.at("killed")];
  const shards = more.trainShards && { trainShards: await tarShards(folder) };
  const options = { maxTrainSteps: STEPS, checkpointingSteps: INTERVAL, checkpointsTotalLimit: 2, ...more, ...shards };
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
