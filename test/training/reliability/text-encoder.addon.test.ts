import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadSafetensors } from "../../../lib/files/safetensors.js";
import { train } from "../../../lib/training/train.js";
import { checkpoints, fingerprint, metrics, TemporaryFolder, tinyOptions, trained } from "./tiny-run.js";

const STEPS = 6;
const options = { trainTextEncoder: true, useEma: true, maxTrainSteps: STEPS, checkpointingSteps: 3 };
const WEIGHTS = join("text_encoder", "model.safetensors");

let folder: TemporaryFolder;
let whole: string;
beforeAll(async () => {
  folder = new TemporaryFolder();
  whole = folder.at("whole");
  await trained(tinyOptions(whole, options));
});
afterAll(() => folder[Symbol.dispose]());

const losses = (outputDir: string) => metrics(outputDir).map(({ train_loss }) => train_loss as number);

test("a trained text encoder is saved under names that every version of transformers reads, and has changed", async () => {
  const base = await loadSafetensors(join(tinyOptions(whole).pretrainedModelNameOrPath!, WEIGHTS));
  const saved = await loadSafetensors(join(whole, WEIGHTS));
  expect(Object.keys(saved).sort()).toEqual(
    Object.keys(base)
      .map((name) => `text_model.${name}`)
      .sort(),
  );
  for (const [name, before] of Object.entries(base)) {
    const after = saved[`text_model.${name}`]!;
    expect(after.shape).toEqual(before.shape);
    expect(await after.equal(before)).toBe(false);
  }
});

test("a resumed run gives the same bits as an uninterrupted one, text encoder and EMA weights included", async () => {
  const outputDir = folder.at("resumed");
  await trained(tinyOptions(outputDir, { ...options, maxTrainSteps: 3 }));
  await trained(tinyOptions(outputDir, { ...options, resumeFromCheckpoint: "latest" }));
  expect(checkpoints(outputDir)).toEqual(checkpoints(whole));
  expect(fingerprint(join(outputDir, "checkpoint-6"))).toEqual(fingerprint(join(whole, "checkpoint-6")));
  expect(readFileSync(join(outputDir, WEIGHTS)).equals(readFileSync(join(whole, WEIGHTS)))).toBe(true);
});

test("cached latents give the same losses, since the cache holds prompts, not embeddings", async () => {
  const outputDir = folder.at("cached");
  await trained(tinyOptions(outputDir, { ...options, cacheLatents: true }));
  const [ours, its] = [losses(outputDir), losses(whole)];
  expect(ours).toHaveLength(STEPS);
  for (const [i, loss] of ours.entries()) expect(Math.abs(loss / its[i]! - 1)).toBeLessThan(1e-5);
});

test("the reference mode refuses to train a text encoder, as the reference script cannot", async () => {
  const run = train(tinyOptions(folder.at("refused"), { ...options, compat: "diffusers" }));
  await expect(run).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: /train_text_encoder/ });
});
