import { afterAll, beforeAll, expect, test } from "vitest";
import { heldUpDuring } from "../../helpers/event-loop.mjs";
import { TemporaryFolder, tinyOptions, trained } from "./tiny-run.js";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = new TemporaryFolder();
  // Modules are loaded and compiled on the event loop, once.
  await trained(tinyOptions(folder.at("warm-up"), { maxTrainSteps: 2, checkpointingSteps: 1 }));
});
afterAll(() => folder[Symbol.dispose]());

test("the event loop stays free during training and saving", async () => {
  let runs = 0;
  const said = await heldUpDuring(() => {
    const out = folder.at(`out-${runs++}`);
    return trained(tinyOptions(out, { maxTrainSteps: 24, checkpointingSteps: 4, checkpointsTotalLimit: 1 }));
  });
  expect(said).toBeUndefined();
});
