import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { listCheckpoints, readMetrics } from "../../lib/index.js";
import { MetricsFile } from "../../lib/tracking/metrics-file.js";
import { formatManifest } from "../../lib/training/checkpoint/manifest.js";
import type { StepRecord } from "../../lib/training/events.js";
import { trackedValues } from "../../lib/training/trackers.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "ip2p-results-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const record = (step: number, more: Partial<StepRecord> = {}): StepRecord => ({
  ...{ step, trainLoss: 0.5 / step, lr: 1e-4, gradNorm: 1.25, seconds: 2, dataSeconds: 0.1, samplesPerSecond: 8 },
  ...{ peakMemoryBytes: 1e9, epoch: 0, skipped: false },
  ...more,
});

it("metrics are read back as the records that were logged", async () => {
  const records = [
    record(1),
    record(2, { gradNorm: Number.NaN, skipped: true }),
    record(3, { peakDeviceMemoryBytes: 5 }),
  ];
  const file = new MetricsFile(folder, 0);
  await file.init();
  for (const each of records) await file.log(trackedValues(each), each.step);
  expect(await readMetrics(folder)).toEqual(records);
  await file.finish();
  await writeFile(join(folder, "metrics.jsonl"), '{"step": 4, "train_lo', { flag: "a" });
  expect(await readMetrics(folder)).toEqual(records);
});

it("a folder without metrics, and what is none, is named", async () => {
  const missing = readMetrics(join(folder, "nowhere"));
  await expect(missing).rejects.toMatchObject({
    code: "ERR_FILE_NOT_FOUND",
    message: expect.stringMatching(/nowhere.metrics\.jsonl: no such file/),
  });
  await mkdir(join(folder, "metrics.jsonl"));
  await expect(readMetrics(folder)).rejects.toMatchObject({ code: "ERR_IO" });
  await expect(readMetrics(7 as never)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
});

it("checkpoints are listed by step, with their origin", async () => {
  expect(await listCheckpoints(join(folder, "nowhere"))).toEqual([]);
  const add = async (name: string, files: Record<string, string>) => {
    await mkdir(join(folder, name));
    for (const [file, text] of Object.entries(files)) await writeFile(join(folder, name, file), text);
  };
  const manifest = { packageVersion: "1.0.0", files: new Map(), writtenAt: 1_000_000 };
  await add("checkpoint-500", { "manifest.json": formatManifest({ ...manifest, step: 500 }) });
  await add("checkpoint-20", { "optimizer.bin": "" });
  await add("checkpoint-1000", { "manifest.json": "{" });
  await add("checkpoint-30.tmp", {});
  await add("unet", {});
  const path = (name: string) => join(folder, name);
  expect(await listCheckpoints(folder)).toEqual([
    { step: 20, path: path("checkpoint-20"), writtenBy: "diffusers" },
    { step: 500, path: path("checkpoint-500"), writtenBy: "instruct-pix2pix", writtenAt: new Date(1_000_000) },
    { step: 1000, path: path("checkpoint-1000"), writtenBy: "unknown" },
  ]);
});
