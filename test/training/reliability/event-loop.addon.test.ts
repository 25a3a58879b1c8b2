import { afterAll, beforeAll, expect, test } from "vitest";
import { heldUp, turnsDuring } from "../../helpers/event-loop.mjs";
import { TemporaryFolder, tinyOptions, trained } from "./tiny-run.js";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = new TemporaryFolder();
  // Modules are loaded and compiled on the event loop, once.
  await trained(tinyOptions(folder.at("warm-up"), { maxTrainSteps: 2, checkpointingSteps: 1 }));
});
afterAll(() => folder[Symbol.dispose]());

test("the event loop stays free during training and saving", async () => {
  const turns = await turnsDuring(() =>
    trained(tinyOptions(folder.at("out"), { maxTrainSteps: 24, checkpointingSteps: 4, checkpointsTotalLimit: 1 })),
  );
  expect(heldUp(turns)).toBeUndefined();
});
