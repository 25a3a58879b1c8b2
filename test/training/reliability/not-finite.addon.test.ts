import { cpSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Tensor } from "../../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../../lib/files/safetensors.js";
import { commitCheckpoint } from "../../../lib/training/checkpoint/commit.js";
import { readState, writeState } from "../../../lib/training/checkpoint/state.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import {
  checkpoints,
  expectError,
  fingerprint,
  metrics,
  stoppedAfter,
  TemporaryFolder,
  tinyOptions,
  tinyPairs,
  trained,
  watch,
} from "./tiny-run.js";

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

const TOKENS = "embeddings.token_embedding.weight";
const WEIGHTS = "diffusion_pytorch_model.safetensors";

/** Writes `value` into a tensor of a weights file, to all elements or to those that `where` picks. */
async function poison(path: string, name: string, value: number, where = (_: number) => true): Promise<void> {
  const tensors = await loadSafetensors(path);
  const shape = [...tensors[name]!.shape];
  const numbers = Float32Array.from(await tensors[name]!.toArray(), Number);
  tensors[name] = Tensor.from(
    numbers.map((x, i) => (where(i) ? value : x)),
    shape,
  );
  await saveSafetensors(path, tensors, { format: "pt" });
}

/** Every element of every tensor of a checkpoint's files. */
async function expectFinite(checkpoint: string): Promise<void> {
  for (const file of ["optimizer.safetensors", join("unet", WEIGHTS), join("unet_ema", WEIGHTS)])
    for (const [name, tensor] of Object.entries(await loadSafetensors(join(checkpoint, file))))
      for (const x of await tensor.toArray())
        if (!Number.isFinite(Number(x))) expect.unreachable(`${file}: ${name} holds ${x}`);
}

const everyStep: Partial<TrainInput> = {
  checkpointingSteps: 1,
  gradientAccumulationSteps: 1,
  conditioningDropoutProb: undefined,
};

/** Of which float32 and bfloat16 hold neither the double nor the square. */
const HUGE = 3e38;

test.each([
  ["unet", WEIGHTS, "conv_out.bias", Number.NaN],
  ["vae", WEIGHTS, "quant_conv.bias", Number.POSITIVE_INFINITY],
  ["text_encoder", "model.safetensors", TOKENS, Number.NEGATIVE_INFINITY],
])("weights of the %s that are not finite are refused before the first step", async (part, file, name, value) => {
  const base = folder.copyOfBase(`loaded-${part}`);
  await poison(join(base, part, file), name, value, (i) => i === 0);
  const outputDir = folder.at(`out-loaded-${part}`);
  const seen = await watch(tinyOptions(outputDir, { ...everyStep, pretrainedModelNameOrPath: base }));
  const message = expectError(seen, "ERR_NOT_FINITE");
  expect(message).toContain(`${join(part, file)}: the weight "${name}" holds NaN or infinity`);
  expect(message).not.toMatch(/allow_?non_?finite/i); // which training does not have
  expect(seen.records).toEqual([]);
  expect(checkpoints(outputDir)).toEqual([]);
});

test.each(["no", "bf16"] as const)(
  "a loss that overflows stops the first step, mixed precision %s",
  async (precision) => {
    const base = folder.copyOfBase(`unet-${precision}`);
    await poison(join(base, "unet", WEIGHTS), "conv_out.bias", HUGE, (i) => i === 0);
    const outputDir = folder.at(`out-unet-${precision}`);
    const run = { ...everyStep, pretrainedModelNameOrPath: base, mixedPrecision: precision };
    const seen = await watch(tinyOptions(outputDir, run));
    expect(expectError(seen, "ERR_NOT_FINITE")).toMatch(
      /^step 1: the loss is not finite \(rows \d, \d of the data set\)/,
    );
    expect(seen.records).toEqual([]);
    expect(checkpoints(outputDir)).toEqual([]);
  },
);

test("latents that overflow stop the first step", async () => {
  const base = folder.copyOfBase("vae");
  await poison(join(base, "vae", WEIGHTS), "quant_conv.bias", HUGE, (i) => i === 0);
  const seen = await watch(tinyOptions(folder.at("out-vae"), { pretrainedModelNameOrPath: base }));
  expect(expectError(seen, "ERR_NOT_FINITE")).toMatch(/^step 1: /);
});

/** The rows of the tiny data set whose instruction holds this word. */
function rowsWith(word: string): number[] {
  const lines = readFileSync(join(tinyPairs, "metadata.jsonl"), "utf8").trimEnd().split("\n");
  return lines.flatMap((line, row) =>
    (JSON.parse(line) as { edit_prompt: string }).edit_prompt.includes(word) ? [row] : [],
  );
}

test("overflow caused by some rows stops at their step, and names the step and the rows", async () => {
  // One word of the vocabulary has an embedding whose spread overflows: that of the end of "rainbow".
  const base = folder.copyOfBase("text");
  const weights = join(base, "text_encoder", "model.safetensors");
  const { rows, width, token } = await tokenOnlyIn("rainbow", base);
  await poison(weights, TOKENS, HUGE, (i) => Math.floor(i / width) === token && i % 3 === 0);
  await poison(weights, TOKENS, -HUGE, (i) => Math.floor(i / width) === token && i % 3 === 1);

  const run = { ...everyStep, trainBatchSize: 1, seed: 5n, maxTrainSteps: 10 };
  const outputDir = folder.at("out-text");
  const seen = await watch(tinyOptions(outputDir, { ...run, pretrainedModelNameOrPath: base }));
  const message = expectError(seen, "ERR_NOT_FINITE");
  const [, step, row] =
    /^step (\d+): the loss is not finite \(rows (\d+) of the data set\); the weights are those of step/.exec(message)!;
  expect(rows).toContain(Number(row));
  const last = Number(step) - 1;
  expect(last).toBeGreaterThan(0);
  expect(message).toMatch(new RegExp(`step ${last}$`));

  // The saved state equals that of the same run without that word after the step before.
  expect(checkpoints(outputDir).at(-1)).toBe(`checkpoint-${last}`);
  await expectFinite(join(outputDir, `checkpoint-${last}`));
  const clean = folder.at("out-text-clean");
  await stoppedAfter(last, tinyOptions(clean, run));
  expect(fingerprint(join(outputDir, `checkpoint-${last}`))).toEqual(fingerprint(join(clean, `checkpoint-${last}`)));
  expect(metrics(outputDir)).toHaveLength(last);
});

/** A token that no other instruction has. */
async function tokenOnlyIn(word: string, base: string): Promise<{ rows: number[]; width: number; token: number }> {
  const { CLIPTokenizer } = await import("../../../lib/tokenizer/clip_tokenizer.js");
  const tokenizer = await CLIPTokenizer.fromPretrained(join(base, "tokenizer"));
  const lines = readFileSync(join(tinyPairs, "metadata.jsonl"), "utf8").trimEnd().split("\n");
  const prompts = lines.map((line) => (JSON.parse(line) as { edit_prompt: string }).edit_prompt);
  const ids = prompts.map((prompt) => tokenizer.encode([prompt])[0]!);
  const rows = rowsWith(word);
  const others = new Set(ids.filter((_, row) => !rows.includes(row)).flat());
  const token = ids[rows[0]!]!.find((id) => !others.has(id))!;
  const table = (await loadSafetensors(join(base, "text_encoder", "model.safetensors")))[TOKENS]!;
  return { rows, width: table.shape[1]!, token };
}

test("a diverging learning rate is named at the first step that is not finite, and the saved state is finite", async () => {
  const outputDir = folder.at("out-blow-up");
  const seen = await watch(
    tinyOptions(outputDir, {
      ...everyStep,
      learningRate: 1e30,
      lrScheduler: "constant",
      lrWarmupSteps: 0,
      maxTrainSteps: 6,
    }),
  );
  const message = expectError(seen, "ERR_NOT_FINITE");
  const step = Number(/^step (\d+): the (loss is|gradients are) not finite/.exec(message)![1]);
  expect(step).toBeGreaterThan(1);
  expect(seen.records.at(-1)!.step).toBe(step - 1);
  expect(checkpoints(outputDir).at(-1)).toBe(`checkpoint-${step - 1}`);
  await expectFinite(join(outputDir, `checkpoint-${step - 1}`));
});

test("gradients that overflow although the loss does not are named", async () => {
  const base = folder.copyOfBase("gradients");
  // A prediction of about 1e17 has a square that float32 can hold, and gradients further down whose squares it cannot.
  await poison(join(base, "unet", WEIGHTS), "conv_out.weight", 1e16);
  const seen = await watch(tinyOptions(folder.at("out-gradients"), { pretrainedModelNameOrPath: base }));
  expect(expectError(seen, "ERR_NOT_FINITE")).toMatch(/^step 1: the gradients are not finite/);
});

describe("with float16 and a scaled loss", () => {
  const fp16: Partial<TrainInput> = { ...everyStep, mixedPrecision: "fp16", trainBatchSize: 1 };

  test("steps that overflow are skipped and halve the loss scale; the learning rate schedule does not advance", async () => {
    const base = folder.copyOfBase("overflow");
    // Gradients twelve times as large overflow at the initial scale of 65536, and no longer at a smaller one.
    const scale = 12;
    const path = join(base, "unet", WEIGHTS);
    const tensors = await loadSafetensors(path);
    tensors["conv_out.weight"] = await tensors["conv_out.weight"]!.mul(scale);
    await saveSafetensors(path, tensors, { format: "pt" });
    const outputDir = folder.at("out-overflow");
    const run = tinyOptions(outputDir, {
      ...fp16,
      pretrainedModelNameOrPath: base,
      maxTrainSteps: 8,
      lrScheduler: "constant_with_warmup",
      lrWarmupSteps: 20,
    });
    const { records } = await stoppedAfter(4, run);
    const skipped = records.filter((record) => record.skipped).length;
    expect(skipped).toBeGreaterThan(0);
    expect(skipped).toBeLessThan(records.length);
    let [rate, changes] = [0, 0];
    for (const record of records) {
      expect(record.lr).toBeCloseTo(rate, 12);
      expect(Number.isFinite(record.gradNorm)).toBe(!record.skipped);
      if (record.skipped) continue;
      rate += 1e-3 / 20;
      changes += 1;
    }
    expect(changes).toBe(records.length - skipped);

    const state = await readState(join(outputDir, "checkpoint-4"));
    const sinceLast = records.length - 1 - records.findLastIndex((record) => record.skipped);
    expect(state.scaler).toEqual({ scale: 65536 / 2 ** skipped, growthTracker: sinceLast });
    expect(state.learningRate).toEqual({ step: changes });
    await expectFinite(join(outputDir, "checkpoint-4"));
    // A step that is skipped leaves weights and optimizer alone.
    const first = records.findIndex((record) => record.skipped) + 1;
    const [before, after] = [first - 1, first].map(
      (step) => step > 0 && fingerprint(join(outputDir, `checkpoint-${step}`)),
    );
    if (before && after)
      for (const file of [`unet/${WEIGHTS}`, "optimizer.safetensors"]) expect(after[file]).toBe(before[file]);
  });

  test("overflow at every loss scale stops the run", async () => {
    const outputDir = folder.at("out-exhausted");
    const run = tinyOptions(outputDir, { ...fp16, maxTrainSteps: 1 });
    await trained(run);
    // As if the scale had been halved dozens of times since.
    const [before, now] = [folder.at("before"), join(outputDir, "checkpoint-1")];
    cpSync(now, before, { recursive: true });
    rmSync(join(before, "manifest.json"));
    await poison(join(before, "unet", WEIGHTS), "conv_out.bias", HUGE, (i) => i === 0);
    const state = await readState(before);
    rmSync(join(before, "state.json"));
    await writeState(before, { ...state, scaler: { scale: 2 ** -23, growthTracker: 0 } });
    await commitCheckpoint(outputDir, 1, async (unfinished) => cpSync(before, unfinished, { recursive: true }));

    const seen = await watch({ ...run, maxTrainSteps: 10, resumeFromCheckpoint: "latest" });
    expect(expectError(seen, "ERR_NOT_FINITE")).toMatch(
      /^step 3: the gradients are not finite; the weights are those of step/,
    );
    expect(seen.records.map(({ step, skipped }) => [step, skipped])).toEqual([[2, true]]);
  });
});
