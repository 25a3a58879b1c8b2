import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TemporaryFolder, tinyOptions, trained } from "./tiny-run.js";

/** The promise, in milliseconds. */
const P99 = 20;

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = new TemporaryFolder();
  // Modules are loaded and compiled on the event loop, once.
  await trained(tinyOptions(folder.at("warm-up"), { maxTrainSteps: 2, checkpointingSteps: 1 }));
});
afterAll(() => folder[Symbol.dispose]());

/** How late timers are while `body` runs: 99 of 100 are at most so many milliseconds late. */
async function delayDuring(body: () => Promise<unknown>): Promise<number> {
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  monitor.enable();
  await body();
  monitor.disable();
  expect(monitor.count).toBeGreaterThan(200);
  return monitor.percentile(99) / 1e6;
}

test("the event loop stays free during training and saving", { retry: 2 }, async () => {
  const outputDir = folder.at(`out-${Math.random()}`);
  const delay = await delayDuring(() =>
    trained(tinyOptions(outputDir, { maxTrainSteps: 24, checkpointingSteps: 4, checkpointsTotalLimit: 1 })),
  );
  // On a machine that is busy with other things, timers of an idle process are late as well.
  const idle = await delayDuring(() => sleep(1500));
  expect(delay).toBeLessThan(P99 + idle);
});
