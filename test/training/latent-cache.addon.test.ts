import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TrainInput } from "../../lib/training/options.js";
import { train } from "../../lib/training/train.js";
import { fixture } from "../helpers/fixtures.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-cache-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function losses(name: string, options: Partial<TrainInput>): Promise<{ losses: number[]; cached: number }> {
  const found: number[] = [];
  let cached = 0;
  const run = train({
    pretrainedModelNameOrPath: fixture("script-basic", "base"),
    trainDataDir: fixture("script-basic", "dataset"),
    outputDir: join(folder, name),
    resolution: 32,
    trainBatchSize: 2,
    maxTrainSteps: 7,
    seed: 3,
    randomFlip: true,
    conditioningDropoutProb: 0.1,
    reportTo: "none",
    ...options,
    onEvent: (event) => {
      if (event.type === "caching") cached = event.done;
    },
  });
  for await (const { trainLoss } of run) found.push(trainLoss);
  return { losses: found, cached };
}

const differences = (a: number[], b: number[]) => a.map((loss, i) => Math.abs(loss / b[i]! - 1));

test.each([{}, { compat: "diffusers" as const }])(
  "cached latents give the losses of uncached ones, %o",
  async (mode) => {
    const cacheDir = join(folder, `cache-${JSON.stringify(mode).length}`);
    const plain = await losses("plain", mode);
    const cached = await losses("cached", { ...mode, cacheLatents: true, cacheDir });
    expect(plain.losses).toHaveLength(7);
    expect(Math.max(...differences(cached.losses, plain.losses))).toBeLessThan(1e-5);
    expect(cached.cached).toBe(9);

    const again = await losses("again", { ...mode, cacheLatents: true, cacheDir });
    expect(again.losses).toEqual(cached.losses);
    expect(again.cached, "the second run encodes nothing").toBe(0);
  },
);

test("another resolution has a cache of its own, and nothing unfinished stays behind", async () => {
  const cacheDir = join(folder, "keys");
  await losses("a", { cacheLatents: true, cacheDir, maxTrainSteps: 1 });
  await losses("b", { cacheLatents: true, cacheDir, maxTrainSteps: 1, resolution: 48 });
  const found = readdirSync(join(cacheDir, "latents"));
  expect(found).toHaveLength(2);
  expect(found.every((name) => /^latents-[0-9a-f]{16}$/.test(name))).toBe(true);
});
