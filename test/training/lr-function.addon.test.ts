import { expect, test } from "vitest";
import { expectError, stoppedAfter, TemporaryFolder, tinyOptions, trained, watch } from "./reliability/tiny-run.js";

const short = { useEma: false, gradientAccumulationSteps: 1, maxTrainSteps: 3 };

test("a function is the schedule: it gets the steps done and all steps, also after a resume", async () => {
  using folder = new TemporaryFolder();
  const asked: [number, number][] = [];
  const options = tinyOptions(folder.at("run"), {
    ...short,
    lrWarmupSteps: 2,
    lrScheduler: (step, total) => {
      asked.push([step, total]);
      return 1 / (step + 1);
    },
  });
  const first = await stoppedAfter(2, options);
  const { records } = await trained({ ...options, resumeFromCheckpoint: "latest" });
  expect([...first.records, ...records].map(({ lr }) => lr)).toEqual([1e-3, 5e-4, 1e-3 / 3]);
  expect(asked).toEqual([
    [0, 3],
    [1, 3],
    [2, 3],
  ]);
  const other = await watch({ ...options, lrScheduler: "constant", resumeFromCheckpoint: "latest" });
  expect(expectError(other, "ERR_CONFIG")).toMatch(/lrScheduler was "a function" and is "constant"/);
});

test("what is no factor, and options that do not go together, are refused with the names of the interface", async () => {
  using folder = new TemporaryFolder();
  const refused = async (more: object) =>
    expectError(await watch(tinyOptions(folder.at("no"), { ...short, ...more })), "ERR_INVALID_ARGUMENT");
  expect(await refused({ lrScheduler: () => Number.NaN })).toMatch(
    /^lrScheduler must return .* not NaN \(step 0 of 3\)/,
  );
  expect(await refused({ lrScheduler: "steep" })).toMatch(
    /^lrScheduler takes one of .*, or a function \(step, total\)/,
  );
  expect(await refused({ lrStepRules: "1:2,0.5" })).toMatch(/^lrStepRules are the rules of lrScheduler/);
  expect(await refused({ lrScheduler: "piecewise_constant" })).toMatch(/needs lrStepRules/);
  expect(await refused({ trainDataDir: undefined })).toMatch(/datasetName, trainDataDir or trainShards/);
  expect(await refused({ validationPrompt: "make it snow" })).toMatch(/^validation needs both valImageUrl and/);
});
