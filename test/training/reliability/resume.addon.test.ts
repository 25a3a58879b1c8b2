import { cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StepRecord } from "../../../lib/training/events.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import {
  checkpoints,
  expectError,
  finalWeights,
  fingerprint,
  metrics,
  stoppedAfter,
  TemporaryFolder,
  tinyOptions,
  trained,
  upTo,
  watch,
} from "./tiny-run.js";

const STEPS = 9;
const latest = { resumeFromCheckpoint: "latest" };

let folder: TemporaryFolder;
/** An uninterrupted run with a checkpoint at every third step. */
let whole: string;

beforeAll(async () => {
  folder = new TemporaryFolder();
  whole = folder.at("whole");
  await trained(tinyOptions(whole, { checkpointingSteps: 3 }));
});
afterAll(() => folder[Symbol.dispose]());

/** A finished run has the numbers of the uninterrupted one. */
function expectSameAsWhole(outputDir: string): void {
  expect(finalWeights(outputDir)).toBe(finalWeights(whole));
  const [ours, its] = [metrics(outputDir), metrics(whole)];
  expect(ours.map(({ step, train_loss }) => [step, train_loss])).toEqual(
    its.map(({ step, train_loss }) => [step, train_loss]),
  );
}

describe("a resumed run gives the same bits as an uninterrupted one", () => {
  test("interrupted after every single step", async () => {
    const outputDir = folder.at("every-step");
    for (const step of upTo(STEPS - 1)) {
      const { records } = await stoppedAfter(step, tinyOptions(outputDir, latest));
      // Nothing is done twice: each run takes the one step that comes next.
      expect(records.map((record) => record.step)).toEqual([step]);
      expect(checkpoints(outputDir).at(-1)).toBe(`checkpoint-${step}`);
    }
    await trained(tinyOptions(outputDir, { ...latest, checkpointingSteps: STEPS }));
    expectSameAsWhole(outputDir);
    expect(fingerprint(join(outputDir, "checkpoint-9"))).toEqual(fingerprint(join(whole, "checkpoint-9")));
  });

  test("interrupted at any moment", async () => {
    const outputDir = folder.at("any-moment");
    for (let done = false; !done; ) {
      const stop = new AbortController();
      let timer: NodeJS.Timeout | undefined;
      // After the first step, so that each round comes further however busy the machine is.
      const onStep = ({ seconds }: StepRecord) => {
        timer ??= setTimeout(() => stop.abort(), Math.random() * 2000 * seconds);
      };
      const seen = await watch({ ...tinyOptions(outputDir, latest), signal: stop.signal, onStep });
      clearTimeout(timer);
      done = seen.error === undefined;
      if (done) continue;
      expectError(seen, "ERR_ABORTED");
      // The last step that was reported is saved, so at most the running one is lost.
      expect(checkpoints(outputDir).at(-1)).toBe(`checkpoint-${seen.records.at(-1)!.step}`);
    }
    expectSameAsWhole(outputDir);
  });

  test.each([
    ["in the middle of an epoch", 4],
    ["at the end of an epoch", 6],
  ])("interrupted %s, with windows of one batch", async (_, step) => {
    const plain = { gradientAccumulationSteps: 1, trainBatchSize: 4, useEma: false, maxTrainSteps: 7 };
    const [straight, resumed] = [folder.at(`straight-${step}`), folder.at(`resumed-${step}`)];
    await trained(tinyOptions(straight, plain));
    await stoppedAfter(step, tinyOptions(resumed, plain));
    await trained(tinyOptions(resumed, { ...plain, ...latest }));
    expect(finalWeights(resumed)).toBe(finalWeights(straight));
  });

  test.each<[string, Partial<TrainInput>]>([
    ["8-bit Adam", { use8bitAdam: true }],
    ["bfloat16", { mixedPrecision: "bf16" }],
    ["bfloat16 weights, rounded stochastically", { weightsDtype: "bf16" }],
    ["bfloat16 weights and compensation", { weightsDtype: "bf16", weightsRounding: "compensated", use8bitAdam: true }],
    ["float16 and its loss scale", { mixedPrecision: "fp16" }],
    ["gradient checkpointing and loading with workers", { gradientCheckpointing: true, dataloaderNumWorkers: 2 }],
    ["a random choice of rows", { maxTrainSamples: 7 }],
  ])("with %s", async (_, more) => {
    const steps = { ...more, maxTrainSteps: 2 };
    const name = Object.values(more).join("-");
    const [straight, resumed] = [folder.at(`straight-${name}`), folder.at(`resumed-${name}`)];
    await trained(tinyOptions(straight, steps));
    await stoppedAfter(1, tinyOptions(resumed, steps));
    await trained(tinyOptions(resumed, { ...steps, ...latest }));
    expect(finalWeights(resumed)).toBe(finalWeights(straight));
  });

  test("in another output folder, from a checkpoint given by its path", async () => {
    const outputDir = folder.at("elsewhere");
    await trained(tinyOptions(outputDir, { resumeFromCheckpoint: join(whole, "checkpoint-6"), checkpointingSteps: 3 }));
    expect(finalWeights(outputDir)).toBe(finalWeights(whole));
    expect(fingerprint(join(outputDir, "checkpoint-9"))).toEqual(fingerprint(join(whole, "checkpoint-9")));
    expect(metrics(outputDir).map(({ step }) => step)).toEqual([7, 8, 9]);
  });

  test("from a checkpoint given by its name alone", async () => {
    const outputDir = folder.at("by-name");
    cpSync(whole, outputDir, { recursive: true });
    const { records } = await trained(tinyOptions(outputDir, { resumeFromCheckpoint: "checkpoint-3" }));
    expect(records[0]!.step).toBe(4);
    expectSameAsWhole(outputDir);
  });

  test("with the random seed of the first run", async () => {
    const outputDir = folder.at("drawn-seed");
    const short = { seed: undefined, maxTrainSteps: 2 };
    const { result } = await trained(tinyOptions(outputDir, { ...short, checkpointingSteps: 1 }));
    rmSync(join(outputDir, "checkpoint-2"), { recursive: true });
    const before = finalWeights(outputDir);
    const again = await trained(tinyOptions(outputDir, { ...short, ...latest }));
    expect(again.result!.seed).toBe(result!.seed);
    expect(finalWeights(outputDir)).toBe(before);
  });

  test("for more steps than the first run was given", async () => {
    const constant: Partial<TrainInput> = { lrScheduler: "constant_with_warmup" };
    const [straight, extended] = [folder.at("straight-longer"), folder.at("extended")];
    await trained(tinyOptions(straight, { ...constant, maxTrainSteps: 5 }));
    await trained(tinyOptions(extended, { ...constant, maxTrainSteps: 3, checkpointingSteps: 3 }));
    await trained(tinyOptions(extended, { ...constant, ...latest, maxTrainSteps: 5 }));
    expect(finalWeights(extended)).toBe(finalWeights(straight));
    expect(metrics(extended).map(({ step }) => step)).toEqual(upTo(5));
  });
});

describe("which checkpoint a run resumes from", () => {
  test("a finished run has nothing left to do, and its model is saved again", async () => {
    const outputDir = folder.at("finished");
    cpSync(whole, outputDir, { recursive: true });
    rmSync(join(outputDir, "unet"), { recursive: true });
    const { records, result } = await trained(tinyOptions(outputDir, latest));
    expect(records).toEqual([]);
    expect(result!.step).toBe(STEPS);
    expectSameAsWhole(outputDir);
  });

  test("without a checkpoint, latest starts from scratch and reports it", async () => {
    const outputDir = folder.at("anew");
    const { records, warnings } = await trained(tinyOptions(outputDir, { ...latest, maxTrainSteps: 1 }));
    expect(records.map(({ step }) => step)).toEqual([1]);
    expect(warnings).toEqual([`${outputDir} has no checkpoint; training starts from the beginning`]);
  });

  test.each([
    ["truncated weights", (path: string) => truncateSync(join(path, "unet/diffusion_pytorch_model.safetensors"), 1000)],
    ["a changed byte", (path: string) => flipByte(join(path, "optimizer.safetensors"))],
    ["missing EMA weights", (path: string) => rmSync(join(path, "unet_ema"), { recursive: true })],
    ["no manifest", (path: string) => rmSync(join(path, "manifest.json"))],
    ["half a state", (path: string) => truncateSync(join(path, "state.json"), 100)],
  ])("a newest checkpoint with %s is named and skipped", async (_, damage) => {
    const outputDir = folder.at("damaged");
    rmSync(outputDir, { recursive: true, force: true });
    cpSync(whole, outputDir, { recursive: true });
    damage(join(outputDir, "checkpoint-9"));
    const { records, warnings } = await stoppedAfter(7, tinyOptions(outputDir, latest));
    expect(records[0]).toMatchObject({ step: 7, trainLoss: metrics(whole)[6]!.train_loss });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/checkpoint-9 is broken and skipped: /);
  });

  test("a broken checkpoint given by name is refused", async () => {
    const outputDir = folder.at("broken-by-name");
    cpSync(whole, outputDir, { recursive: true });
    truncateSync(join(outputDir, "checkpoint-9", "optimizer.safetensors"), 1000);
    const seen = await watch(tinyOptions(outputDir, { resumeFromCheckpoint: "checkpoint-9" }));
    expect(expectError(seen, "ERR_CHECKPOINT")).toMatch(/checkpoint-9.*optimizer\.safetensors/);
  });

  test("one that does not exist is refused", async () => {
    const seen = await watch(tinyOptions(folder.at("none"), { resumeFromCheckpoint: "checkpoint-77" }));
    expect(expectError(seen, "ERR_FILE_NOT_FOUND")).toMatch(/the checkpoint checkpoint-77 does not exist/);
  });

  test("unfinished files of a killed run are removed", async () => {
    const outputDir = folder.at("stale");
    cpSync(join(whole, "checkpoint-3"), join(outputDir, "checkpoint-3"), { recursive: true });
    mkdirSync(join(outputDir, "checkpoint-6.tmp", "unet"), { recursive: true });
    writeFileSync(join(outputDir, "checkpoint-6.tmp", "unet", "config.json"), "{");
    const { records } = await trained(tinyOptions(outputDir, { ...latest, maxTrainSteps: 4 }));
    expect(records.map(({ step }) => step)).toEqual([4]);
    expect(checkpoints(outputDir)).toEqual(["checkpoint-3"]);
  });

  test("only the newest checkpoints are kept, up to the limit", async () => {
    const outputDir = folder.at("limited");
    await trained(tinyOptions(outputDir, { maxTrainSteps: 4, checkpointingSteps: 1, checkpointsTotalLimit: 2 }));
    expect(checkpoints(outputDir)).toEqual(["checkpoint-3", "checkpoint-4"]);
  });
});

describe("options that would change the run's numbers", () => {
  test.each<[string, Partial<TrainInput>]>([
    ["learningRate", { learningRate: 2e-3 }],
    ["gradientAccumulationSteps", { gradientAccumulationSteps: 1 }],
    ["seed", { seed: 4n }],
    ["useEma", { useEma: false }],
    ["mixedPrecision", { mixedPrecision: "bf16" }],
    ["conditioningDropoutProb", { conditioningDropoutProb: undefined }],
    ["randomFlip", { randomFlip: false }],
  ])("%s is refused by name", async (name, changed) => {
    const seen = await watch(
      tinyOptions(folder.at("changed"), { ...changed, resumeFromCheckpoint: join(whole, "checkpoint-6") }),
    );
    expect(expectError(seen, "ERR_CONFIG")).toMatch(
      new RegExp(`checkpoint-6: was made with other options: ${name} was .* and is .*;`),
    );
  });

  test("are accepted with allow_changed_options, with a warning", async () => {
    const { records, warnings } = await trained(
      tinyOptions(folder.at("allowed"), {
        learningRate: 2e-3,
        allowChangedOptions: true,
        resumeFromCheckpoint: join(whole, "checkpoint-6"),
        lrScheduler: "constant_with_warmup",
      }),
    );
    expect(records.map(({ lr }) => lr)).toEqual([2e-3, 2e-3, 2e-3]);
    expect(warnings.join("\n")).toMatch(/learningRate was 0\.001 and is 0\.002/);
    expect(warnings.join("\n")).toMatch(/lrScheduler was cosine and is constant_with_warmup/);
  });

  test("another data set of another size is refused", async () => {
    const pairs = folder.copyOfPairs();
    const lines = readFileSync(join(pairs, "metadata.jsonl"), "utf8").trimEnd().split("\n");
    writeFileSync(join(pairs, "metadata.jsonl"), `${lines.slice(0, 8).join("\n")}\n`);
    const seen = await watch(
      tinyOptions(folder.at("other-data"), {
        trainDataDir: pairs,
        allowChangedOptions: true,
        resumeFromCheckpoint: join(whole, "checkpoint-6"),
      }),
    );
    expect(expectError(seen, "ERR_CHECKPOINT")).toMatch(/10 rows, and this one has 8/);
  });
});

function flipByte(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length - 10]! ^= 1;
  writeFileSync(path, bytes);
}
