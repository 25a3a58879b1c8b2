import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { resolveOptions } from "../../lib/options/parse.js";
import { modelCard } from "../../lib/training/model-card.js";
import { trainOptions } from "../../lib/training/options.js";
import { instructPix2Pix } from "../../lib/training/recipes/instruct_pix2pix/recipe.js";
import type { TrainInput } from "../../lib/training/train-input.js";

const before = process.cwd();
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-card-"));
  process.chdir(folder);
});
afterEach(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
});

function card(options: Pick<TrainInput, "pretrainedModelNameOrPath" | "datasetName" | "trainDataDir">): string {
  return modelCard(resolveOptions(trainOptions, options), instructPix2Pix, 7, 3n);
}

test("a base model and a data set on the hub are named for it to link", () => {
  const text = card({ pretrainedModelNameOrPath: "org/base", datasetName: "org/pairs" });
  expect(text).toMatch(/^---\n.*\nbase_model: org\/base\ndatasets:\n- org\/pairs\n.*\n---\n/s);
  expect(text).toContain("# InstructPix2Pix, trained from org/base\n");
  expect(text).toContain("Trained on org/pairs with instruct-pix2pix ");
  expect(text).toContain("| optimizer steps | 7 |");
});

test("folders whose paths look like names on the hub are folders", () => {
  for (const path of ["org/base", "org/pairs", "base"]) mkdirSync(path, { recursive: true });
  for (const base of ["org/base", "base", "./base", join(folder, "org", "base")]) {
    const text = card({ pretrainedModelNameOrPath: base, datasetName: "org/pairs" });
    expect(text).not.toMatch(/base_model|datasets:|org\/|ip2p-card/);
    expect(text).toContain("# InstructPix2Pix, trained from base\n");
    expect(text).toContain("Trained on a local data set with");
  }
  expect(card({ pretrainedModelNameOrPath: "org/base", trainDataDir: "org/pairs" })).not.toContain("org/");
});
