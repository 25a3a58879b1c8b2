import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { latestValidCheckpoint } from "../../../lib/training/checkpoint/find.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { tryTo } from "../../helpers/try-to.js";
import {
  checkpoints,
  expectError,
  finalWeights,
  metrics,
  TemporaryFolder,
  tinyOptions,
  tinyPairs,
  trained,
  upTo,
  watch,
} from "./tiny-run.js";

const STEPS = 5;

let folder: TemporaryFolder;
let whole: string;

const options = (outputDir: string, more: Partial<TrainInput> = {}) =>
  tinyOptions(outputDir, { maxTrainSteps: STEPS, checkpointingSteps: 2, ...more });

beforeAll(async () => {
  folder = new TemporaryFolder();
  whole = folder.at("whole");
  await trained(options(whole));
});
afterAll(() => folder[Symbol.dispose]());

/** Bytes that a file of this process may have. */
function limitFiles(bytes: number | "unlimited"): boolean {
  return tryTo("prlimit", "--pid", String(process.pid), `--fsize=${bytes}:unlimited`);
}

/** Checkpoint 2 is the last one, whole, and nothing unfinished lies beside it. */
async function expectIntact(outputDir: string, names = ["checkpoint-2"]): Promise<void> {
  expect(checkpoints(outputDir)).toEqual(names);
  expect(readdirSync(outputDir, { recursive: true }).filter((name) => /\.tmp/.test(String(name)))).toEqual([]);
  const last = await latestValidCheckpoint(outputDir, ({ error }) => expect.unreachable(error.message));
  expect(last!.path).toBe(join(outputDir, names.at(-1)!));
}

/** Once there is room again, the resumed run has the same result. */
async function expectGoesOn(outputDir: string): Promise<void> {
  await trained(options(outputDir, { resumeFromCheckpoint: "latest" }));
  expect(finalWeights(outputDir)).toBe(finalWeights(whole));
  expect(metrics(outputDir).map(({ step }) => step)).toEqual(upTo(STEPS));
}

describe("with a file size limit", () => {
  test("for a checkpoint", async ({ skip }) => {
    skip(!limitFiles("unlimited"), "there is no prlimit here");
    const outputDir = folder.at("limit-checkpoint");
    try {
      const onStep = ({ step }: { step: number }) => void (step === 3 && limitFiles(2_000_000));
      const seen = await watch({ ...options(outputDir), onStep });
      expect(expectError(seen, "ERR_IO")).toMatch(/checkpoint-4.*(file size limit|exceed the size limit)/);
      expect(seen.records.at(-1)!.step).toBe(4);
    } finally {
      limitFiles("unlimited");
    }
    await expectIntact(outputDir);
    await expectGoesOn(outputDir);
  });

  test("for the model at the end", async ({ skip }) => {
    skip(!limitFiles("unlimited"), "there is no prlimit here");
    const outputDir = folder.at("limit-model");
    try {
      const onStep = ({ step }: { step: number }) => void (step === STEPS && limitFiles(200_000));
      const seen = await watch({ ...options(outputDir), onStep });
      expectError(seen, "ERR_IO");
    } finally {
      limitFiles("unlimited");
    }
    await expectIntact(outputDir, ["checkpoint-2", "checkpoint-4"]);
    expect(existsSync(join(outputDir, "model_index.json"))).toBe(false);
    await expectGoesOn(outputDir);
  });

  test("for the model at the end; an earlier model is unchanged", async ({ skip }) => {
    skip(!limitFiles("unlimited"), "there is no prlimit here");
    const outputDir = folder.at("limit-second-model");
    await trained(options(outputDir, { maxTrainSteps: 2 }));
    const before = finalWeights(outputDir);
    try {
      const onStep = ({ step }: { step: number }) => void (step === STEPS && limitFiles(200_000));
      expectError(await watch({ ...options(outputDir, { resumeFromCheckpoint: "latest" }), onStep }), "ERR_IO");
    } finally {
      limitFiles("unlimited");
    }
    expect(finalWeights(outputDir)).toBe(before);
    expect(existsSync(join(outputDir, "model_index.json"))).toBe(true);
  });

  test("for metrics.jsonl", async ({ skip }) => {
    skip(!limitFiles("unlimited"), "there is no prlimit here");
    const outputDir = folder.at("limit-metrics");
    try {
      const onStep = ({ step }: { step: number }) => void (step === 3 && limitFiles(100));
      const seen = await watch({ ...options(outputDir), onStep });
      expect(expectError(seen, "ERR_IO")).toMatch(/metrics\.jsonl/);
    } finally {
      limitFiles("unlimited");
    }
    await expectIntact(outputDir);
    expect(metrics(outputDir).map(({ step }) => step)).toEqual([1, 2, 3]);
    await expectGoesOn(outputDir);
  });
});

test.skipIf(process.platform === "win32")(
  "a metrics.jsonl that is a pipe is refused before anything is loaded",
  async () => {
    const outputDir = folder.at("pipe");
    mkdirSync(outputDir);
    execFileSync("mkfifo", [join(outputDir, "metrics.jsonl")]);
    const seen = await watch(options(outputDir));
    expect(expectError(seen, "ERR_IO")).toMatch(/pipe\/metrics\.jsonl": it is a named pipe/);
    expect(seen.events).toEqual([]);
  },
);

test("on a full disk", async ({ skip }) => {
  const disk = folder.at("disk");
  mkdirSync(disk);
  // Room for one checkpoint of six megabytes and half of another.
  skip(!tryTo("mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", disk), "this process may not mount a small disk");
  try {
    expect(expectError(await watch(options(disk)), "ERR_IO")).toMatch(/checkpoint-4.*(no space|disk is full)/i);
    await expectIntact(disk);
    tryTo("mount", "-o", "remount,size=64m", disk);
    await expectGoesOn(disk);
  } finally {
    execFileSync("umount", ["-l", disk]);
  }
});

describe("an output folder that cannot be written to is found before anything is loaded", () => {
  test("because it is a file", async () => {
    writeFileSync(folder.at("file"), "");
    const seen = await watch(options(folder.at("file", "below")));
    expect(expectError(seen, "ERR_IO")).toMatch(/file\/below/);
    expect(seen.events).toEqual([]);
  });

  test("because it is read-only", async () => {
    const outputDir = folder.at("read-only");
    mkdirSync(outputDir);
    chmodSync(outputDir, 0o555);
    chmodSync(folder.path, 0o755);
    // Nothing is forbidden to root.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid!(65534);
    try {
      const seen = await watch(options(outputDir));
      expect(expectError(seen, "ERR_IO")).toMatch(/read-only.*permission denied/);
      expect(seen.events).toEqual([]);
    } finally {
      if (isRoot) process.seteuid!(0);
      chmodSync(outputDir, 0o755);
    }
    expect(readdirSync(outputDir)).toEqual([]);
  });
});

describe("what has the name of a result is found before anything is loaded", () => {
  const components = ["unet", "vae", "text_encoder", "tokenizer", "scheduler"];
  const images = join(tinyPairs, "images");
  const validates = { valImageUrl: join(images, readdirSync(images)[0]!), validationPrompt: "snow" };

  test.each<[string, string, (path: string) => void, Partial<TrainInput>?]>([
    ...components.map((name): [string, string, (path: string) => void] => [
      "a file",
      name,
      (path) => writeFileSync(path, "notes"),
    ]),
    ["a link that leads nowhere", "unet", (path) => symlinkSync("gone", path)],
    ["a link to a file", "unet", (path) => symlinkSync(join(tinyPairs, "metadata.jsonl"), path)],
    ["a folder", "model_index.json", (path) => mkdirSync(path)],
    ["a folder", "README.md", (path) => mkdirSync(path)],
    ["a folder", "unet/config.json", (path) => mkdirSync(path, { recursive: true })],
    ["a folder", "vae/diffusion_pytorch_model.safetensors", (path) => mkdirSync(path, { recursive: true })],
    ["a file", "validation", (path) => writeFileSync(path, ""), validates],
    [
      "a file",
      "validation/step-000002",
      (path) => {
        mkdirSync(join(path, ".."));
        writeFileSync(path, "");
      },
      validates,
    ],
  ])("%s: %s", async (_, name, put, more = {}) => {
    const outputDir = mkdtempSync(folder.at("in-the-way-"));
    const path = join(outputDir, name);
    put(path);
    const seen = await watch(options(outputDir, more));
    expect(expectError(seen, "ERR_IO")).toBe(
      `cannot write "${path}": the run will need ${/\./.test(name) ? "a file" : "a folder"} of this name, and something else has it; rename or remove that, or choose another output folder`,
    );
    expect(seen.events).toEqual([]);
  });

  test("but not where it does no harm: links to folders, other files, and names of checkpoints", async () => {
    const outputDir = folder.at("no-harm");
    mkdirSync(join(outputDir, "elsewhere"), { recursive: true });
    symlinkSync("elsewhere", join(outputDir, "unet"));
    symlinkSync("gone", join(outputDir, "README.md"));
    writeFileSync(join(outputDir, "elsewhere", "notes"), "");
    for (const name of ["validation", "checkpoint-2", "checkpoint-4.tmp"]) writeFileSync(join(outputDir, name), name);
    await trained(options(outputDir));
    expect(finalWeights(outputDir)).toBe(finalWeights(whole));
    expect(checkpoints(outputDir)).toEqual(expect.arrayContaining(["checkpoint-2", "checkpoint-4"]));
    expect(readFileSync(join(outputDir, "checkpoint-2-of-unknown"), "utf8")).toBe("checkpoint-2");
  });
});

test("a checkpoint folder deleted during the run affects nothing else", async () => {
  const outputDir = folder.at("disappears");
  const onStep = ({ step }: { step: number }) => {
    if (step === 3) rmSync(outputDir, { recursive: true });
  };
  await trained({ ...options(outputDir), onStep });
  expect(checkpoints(outputDir)).toEqual(["checkpoint-4"]);
  expect(finalWeights(outputDir)).toBe(finalWeights(whole));
});
