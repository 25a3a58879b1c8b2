import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatManifest, parseManifest } from "../../../lib/training/checkpoint/manifest.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import {
  checkpoints,
  expectError,
  finalWeights,
  metrics,
  stoppedAfter,
  TemporaryFolder,
  tinyBase,
  tinyOptions,
  trained,
  upTo,
  watch,
} from "./tiny-run.js";

const latest = { resumeFromCheckpoint: "latest" };
const plain: Partial<TrainInput> = {
  gradientAccumulationSteps: 1,
  lrScheduler: "constant_with_warmup",
  randomFlip: false,
  checkpointsTotalLimit: 2,
  checkpointingSteps: 1,
};

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

const options = (outputDir: string, more: Partial<TrainInput> = {}) => tinyOptions(outputDir, { ...plain, ...more });
const steps = (outputDir: string) => metrics(outputDir).map(({ step }) => step);
const idIn = (path: string) => (JSON.parse(readFileSync(path, "utf8")) as { run: { id: string } }).run.id;
const idOf = (outputDir: string) => idIn(join(outputDir, "run.json"));

describe("a folder in which another run has trained", () => {
  let outputDir: string;
  let first: string;

  beforeAll(async () => {
    outputDir = folder.at("two-runs");
    await trained(options(outputDir, { maxTrainSteps: 5, checkpointingSteps: 2, seed: 8n }));
    first = idOf(outputDir).slice(0, 8);
  });

  test("keeps its checkpoints and metrics, each named, and the limit is for the new run's own", async () => {
    const { warnings } = await trained(options(outputDir, { maxTrainSteps: 3 }));
    expect(checkpoints(outputDir)).toEqual(expect.arrayContaining(["checkpoint-2", "checkpoint-3", "checkpoint-4"]));
    expect(checkpoints(outputDir).filter((name) => name.includes("-of-"))).toEqual([`checkpoint-2-of-${first}`]);
    expect(idIn(join(outputDir, `checkpoint-2-of-${first}`, "manifest.json")).slice(0, 8)).toBe(first);
    expect(steps(outputDir)).toEqual(upTo(3));
    const kept = readFileSync(join(outputDir, `metrics.${first}.jsonl`), "utf8");
    expect(kept.trimEnd().split("\n")).toHaveLength(5);
    const said = warnings.join("\n");
    expect(said).toMatch(`ignores and keeps: checkpoint-2, checkpoint-4 (of run ${first})`);
    expect(said).toMatch(`the model in ${outputDir} of run ${first} after 5 steps will be replaced`);
    expect(said).toMatch(`metrics.jsonl is of run ${first} and is kept as metrics.${first}.jsonl`);
    expect(said).toMatch(`that one is kept as ${join(outputDir, `checkpoint-2-of-${first}`)}`);
  });

  test("latest is the checkpoint written last, not that of the highest step, and names its run", async () => {
    const second = idOf(outputDir);
    const { records, warnings } = await trained(options(outputDir, { ...latest, maxTrainSteps: 4 }));
    expect(records.map(({ step }) => step)).toEqual([4]);
    expect(warnings[0]).toBe(
      `latest is ${join(outputDir, "checkpoint-3")}, of run ${second.slice(0, 8)}, which wrote the last checkpoint`,
    );
    expect(idOf(outputDir)).toBe(second);
    expect(steps(outputDir)).toEqual(upTo(4));
  });

  test("continues the first run by its checkpoint's name, and restores its metrics", async () => {
    const second = idOf(outputDir).slice(0, 8);
    const aside = join(outputDir, `checkpoint-4-of-${first}`);
    const { records } = await trained(
      options(outputDir, { resumeFromCheckpoint: aside, maxTrainSteps: 6, seed: 8n, checkpointingSteps: 100 }),
    );
    expect(records.map(({ step }) => step)).toEqual([5, 6]);
    expect(steps(outputDir)).toEqual(upTo(6));
    expect(existsSync(join(outputDir, `metrics.${second}.jsonl`))).toBe(true);
  });

  test("without a valid checkpoint of the last run, latest is refused instead of another's", async () => {
    const broken = folder.at("last-broken");
    await trained(options(broken, { maxTrainSteps: 3 }));
    await trained(options(broken, { maxTrainSteps: 1, seed: 8n }));
    rmSync(join(broken, "checkpoint-1", "state.json"));
    const seen = await watch(options(broken, { ...latest, maxTrainSteps: 4 }));
    expect(expectError(seen, "ERR_CHECKPOINT")).toMatch(/checkpoint-2, checkpoint-3 \(of run .*name one of them/);
  });
});

test("a run that resumes from an earlier checkpoint branches off: later checkpoints belong to another run", async () => {
  const outputDir = folder.at("branch");
  await trained(options(outputDir, { maxTrainSteps: 4, checkpointsTotalLimit: undefined }));
  const before = idOf(outputDir);
  await stoppedAfter(3, options(outputDir, { resumeFromCheckpoint: "checkpoint-2", maxTrainSteps: 4 }));
  expect(idOf(outputDir)).not.toBe(before);
  // Those that both have in common count, so the first of them goes.
  const names = checkpoints(outputDir).filter((name) => !name.includes("-of-"));
  expect(names).toEqual(["checkpoint-2", "checkpoint-3", "checkpoint-4"]);
  expect(existsSync(join(outputDir, `checkpoint-3-of-${before.slice(0, 8)}`))).toBe(true);
  expect(steps(outputDir)).toEqual(upTo(3));
  const { records } = await trained(options(outputDir, { ...latest, maxTrainSteps: 4 }));
  expect(records.map(({ step }) => step)).toEqual([4]);
});

test("checkpoints without a run's identity can be resumed from, and count as one run", async () => {
  const outputDir = folder.at("earlier");
  await trained(options(outputDir, { maxTrainSteps: 3 }));
  const whole = finalWeights(outputDir);
  for (const step of [2, 3]) {
    const path = join(outputDir, `checkpoint-${step}`, "manifest.json");
    const { run: _, writtenAt: __, ...rest } = parseManifest(readFileSync(path), path);
    writeFileSync(path, formatManifest(rest));
  }
  rmSync(join(outputDir, "run.json"));
  rmSync(join(outputDir, "checkpoint-3"), { recursive: true });
  const { records, warnings } = await trained(options(outputDir, { ...latest, maxTrainSteps: 4 }));
  expect(warnings).toEqual([]);
  expect(records.map(({ step }) => step)).toEqual([3, 4]);
  expect(checkpoints(outputDir)).toEqual(["checkpoint-3", "checkpoint-4"]);
  expect(steps(outputDir)).toEqual(upTo(4));
  expect(finalWeights(outputDir)).not.toBe(whole);
});

describe("checkpoints that diffusers' script wrote", () => {
  /** As accelerate leaves them: models as folders, the rest as pickles. */
  function diffusersCheckpoint(outputDir: string, step: number, from: string): string {
    const path = join(outputDir, `checkpoint-${step}`);
    mkdirSync(path, { recursive: true });
    for (const part of ["unet", "unet_ema"]) cpSync(join(from, part), join(path, part), { recursive: true });
    for (const name of ["optimizer.bin", "scheduler.bin", "random_states_0.pkl"])
      writeFileSync(join(path, name), "\x80");
    return path;
  }

  let source: string;
  beforeAll(async () => {
    source = folder.at("source");
    await trained(options(source, { maxTrainSteps: 4, gradientAccumulationSteps: 2 }));
  });

  test("do not count as latest, and are never removed", async () => {
    const outputDir = folder.at("diffusers");
    for (const step of [1, 500]) diffusersCheckpoint(outputDir, step, join(source, "checkpoint-4"));
    const seen = await watch(options(outputDir, { ...latest, maxTrainSteps: 2 }));
    expect(expectError(seen, "ERR_CHECKPOINT")).toMatch(
      /checkpoint-1, checkpoint-500 \(written by diffusers' script\); name one of them as resumeFromCheckpoint, e.g. checkpoint-500/,
    );
    const { warnings } = await trained(options(outputDir, { maxTrainSteps: 3 }));
    expect(warnings.join()).toMatch(/ignores and keeps: checkpoint-1, checkpoint-500 \(written by diffusers/);
    for (const name of ["checkpoint-1-of-diffusers", "checkpoint-500"])
      expect(existsSync(join(outputDir, name, "optimizer.bin"))).toBe(true);
    expect(checkpoints(outputDir)).toEqual(expect.arrayContaining(["checkpoint-2", "checkpoint-3"]));
    const again = await trained(options(outputDir, { ...latest, maxTrainSteps: 4 }));
    expect(again.records.map(({ step }) => step)).toEqual([4]);
  });

  test("are resumed from by name: weights, EMA weights, step, learning rate and the order of the rows", async () => {
    const outputDir = folder.at("from-diffusers");
    const checkpoint = diffusersCheckpoint(folder.at("theirs"), 4, join(source, "checkpoint-4"));
    const more = { gradientAccumulationSteps: 2, maxTrainSteps: 5, lrScheduler: "cosine" as const, lrWarmupSteps: 1 };
    const straight = await trained(options(folder.at("straight"), more));
    const { records, warnings } = await trained(options(outputDir, { ...more, resumeFromCheckpoint: checkpoint }));
    expect(records.map(({ step, epoch, lr }) => [step, epoch, lr])).toEqual(
      straight.records.slice(4).map(({ step, epoch, lr }) => [step, epoch, lr]),
    );
    expect(warnings).toEqual([
      expect.stringMatching(
        /taken over: the UNet, its EMA weights, step 4; not available from it: AdamW's moments.*generators/,
      ),
    ]);
    expect(steps(outputDir)).toEqual([5]);
    // Its first step starts from the saved EMA weights: at the fifth update a third of them remains.
    expect(finalWeights(outputDir)).not.toBe(finalWeights(folder.at("straight")));
  });

  test.each<[string, (path: string) => string, Partial<TrainInput>, string, RegExp]>([
    [
      "with compat",
      (path) => path,
      { compat: "diffusers", useEma: true },
      "ERR_CONFIG",
      /pickles, which are never read/,
    ],
    [
      "without a UNet",
      (path) => {
        rmSync(join(path, "unet"), { recursive: true });
        return path;
      },
      {},
      "ERR_CHECKPOINT",
      /has no UNet/,
    ],
    [
      "without a step in its name",
      (path) => {
        renameSync(path, `${path}x`);
        return `${path}x`;
      },
      {},
      "ERR_CHECKPOINT",
      /name it checkpoint-STEP/,
    ],
    [
      "with the UNet of a text-to-image model",
      (path) => {
        const config = join(path, "unet", "config.json");
        writeFileSync(config, readFileSync(config, "utf8").replace(/("in_channels": )\d+/, "$14"));
        return path;
      },
      {},
      "ERR_CHECKPOINT",
      /unet\/config\.json: the UNet has 4 input channels, where a checkpoint of InstructPix2Pix has 8, .* pretrainedModelNameOrPath/,
    ],
    [
      "with an average of other weights",
      (path) => {
        cpSync(join(tinyBase, "unet"), join(path, "unet_ema"), { recursive: true });
        return path;
      },
      { useEma: true },
      "ERR_CHECKPOINT",
      /unet_ema: is not an average of the weights in unet\/: "conv_in\.weight" is \[\d+, 4, 3, 3\] here and \[\d+, 8, 3, 3\] there/,
    ],
    [
      "with an average whose header is damaged",
      (path) => {
        const weights = join(path, "unet_ema", "diffusion_pytorch_model.safetensors");
        writeFileSync(weights, readFileSync(weights).fill(0xff, 0, 8));
        return path;
      },
      { useEma: true },
      "ERR_SAFETENSORS",
      /its header does not fit the file/,
    ],
  ])("are refused %s", async (name, change, more, code, message) => {
    const path = change(diffusersCheckpoint(folder.at(name), 7, join(source, "checkpoint-4")));
    const seen = await watch(options(folder.at(`out ${name}`), { ...more, resumeFromCheckpoint: path }));
    expect(expectError(seen, code as "ERR_CONFIG")).toMatch(message);
    // Before the data set is opened and a model is loaded.
    expect(seen.events.map(({ type }) => type)).not.toContain("loading");
  });
});

describe("an output folder is used by one run at a time", () => {
  const lock = (outputDir: string) => join(outputDir, ".training.lock");
  const holder = (pid: number, host = hostname()) => JSON.stringify({ id: "another", pid, host });

  test("a second run is refused, with the process named, and does not affect the first", async () => {
    const outputDir = folder.at("locked");
    let second: unknown;
    const onStep = async ({ step }: { step: number }) => {
      if (step === 1) second = await watch(options(outputDir));
    };
    await trained({ ...options(outputDir, { maxTrainSteps: 2 }), onStep });
    expect(expectError(second as Awaited<ReturnType<typeof watch>>, "ERR_IN_USE")).toBe(
      `process ${process.pid}, this one, is training into "${outputDir}"; choose another output folder, or wait until it is done`,
    );
    expect(existsSync(lock(outputDir))).toBe(false);
    expect(steps(outputDir)).toEqual([1, 2]);
  });

  test("a live process of this machine or another holds the lock; a dead or an older one does not", async () => {
    const outputDir = folder.at("held");
    mkdirSync(outputDir);
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    try {
      await new Promise((resolve) => child.once("spawn", resolve));
      for (const text of [holder(child.pid!), holder(1, "another-machine")]) {
        writeFileSync(lock(outputDir), text);
        expect(expectError(await watch(options(outputDir)), "ERR_IN_USE")).toMatch(/is training into/);
      }
      const hourAgo = new Date(Date.now() - 3_600_000);
      writeFileSync(lock(outputDir), holder(1, "another-machine"));
      utimesSync(lock(outputDir), hourAgo, hourAgo);
      await trained(options(outputDir, { maxTrainSteps: 1 }));
      // Its number is this process's own now, as after a container was started again.
      writeFileSync(lock(outputDir), holder(process.pid));
      const beforeStart = new Date(Date.now() - process.uptime() * 1000 - 10_000);
      utimesSync(lock(outputDir), beforeStart, beforeStart);
      await trained(options(outputDir, { maxTrainSteps: 1 }));
    } finally {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    writeFileSync(lock(outputDir), holder(child.pid!));
    await trained(options(outputDir, { maxTrainSteps: 1 }));
    expect(existsSync(lock(outputDir))).toBe(false);
  });
});
