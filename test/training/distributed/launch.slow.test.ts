import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { expect, test } from "vitest";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { checkpoints, finalWeights, metrics, TemporaryFolder, tinyOptions, upTo } from "../reliability/tiny-run.js";
import { Launched } from "./launched.js";

const options = (outputDir: string, more: Partial<TrainInput> = {}) =>
  tinyOptions(outputDir, {
    trainBatchSize: 1,
    maxTrainSteps: 8,
    checkpointingSteps: 2,
    distributedTimeout: 10,
    ...more,
  });

async function finished(launched: Launched): Promise<void> {
  const { status, stderr } = await launched.ended;
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
}

test("a killed, a stopped and a terminated process end all of them, and the run goes on bit for bit", async () => {
  using folder = new TemporaryFolder();
  await finished(new Launched(2, options(folder.at("whole"))));
  const whole = finalWeights(folder.at("whole"));

  // A process that is killed: the launcher says which, and starts all of them again from the last checkpoint.
  const restarted = new Launched(2, options(folder.at("restarted")), ["--max_restarts=1"]);
  await restarted.reached(3);
  process.kill(restarted.ranks[1]!, "SIGKILL");
  const { status, stderr } = await restarted.ended;
  expect(stderr).toMatch(new RegExp(`rank 1 \\(${hostname()}\\) was killed by SIGKILL in step \\d+`));
  expect(stderr).toContain("starting again from the last checkpoint (1 of 1)");
  expect(status).toBe(0);
  expect(finalWeights(folder.at("restarted"))).toBe(whole);

  // Rank 0 killed, without a restart, and then one that is stopped.
  for (const [rank, signal, said] of [
    [0, "SIGKILL", /rank 0 \(.*\) was killed by SIGKILL in step \d+/],
    [1, "SIGSTOP", /rank 1 \(.*\) did not answer any more in step \d+, and was killed/],
  ] as const) {
    const out = folder.at(signal);
    const failing = new Launched(2, options(out, { distributedTimeout: 3 }));
    await failing.reached(3);
    const ids = failing.ranks;
    process.kill(ids[rank]!, signal);
    const ended = await failing.ended;
    expect(ended.status).not.toBe(0);
    expect(ended.stderr).toMatch(said);
    for (const id of ids) expect(existsSync(`/proc/${id}`), `process ${id}`).toBe(false);
    await finished(new Launched(2, options(out, { resumeFromCheckpoint: "latest" })));
    expect(finalWeights(out)).toBe(whole);
  }

  // A launcher that is told to end: a checkpoint of the last step, which may be any.
  const told = new Launched(2, options(folder.at("told"), { checkpointingSteps: 100 }));
  await told.reached(3);
  told.child.kill("SIGTERM");
  expect((await told.ended).status).toBe(143);
  expect(checkpoints(folder.at("told")).length).toBe(1);
  await finished(new Launched(2, options(folder.at("told"), { resumeFromCheckpoint: "latest" })));
  expect(finalWeights(folder.at("told"))).toBe(whole);
  expect(metrics(folder.at("told")).map(({ step }) => step)).toEqual(upTo(8));

  // Another number of processes is refused by name.
  const other = await new Launched(3, options(folder.at("told"), { resumeFromCheckpoint: "latest" })).ended;
  expect(other.stderr).toMatch(/was made by 2 processes .*, and this run has 3 processes/);
}, 600_000);
