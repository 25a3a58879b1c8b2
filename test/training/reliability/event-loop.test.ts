import { afterAll, beforeAll, expect, test } from "vitest";
import { timerDelays } from "../../helpers/event-loop.js";
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

test("the event loop stays free during training and saving", { retry: 2 }, async () => {
  const outputDir = folder.at(`out-${Math.random()}`);
  const { busy, idle } = await timerDelays(() =>
    trained(tinyOptions(outputDir, { maxTrainSteps: 24, checkpointingSteps: 4, checkpointsTotalLimit: 1 })),
  );
  expect(busy).toBeLessThan(P99 + idle);
});
