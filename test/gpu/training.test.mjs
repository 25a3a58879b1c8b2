import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadSafetensors, train } from "../../dist/index.js";
import { parseArguments } from "../../dist/options/parse.js";
import { trainOptions } from "../../dist/training/options.js";
import { device, fixture, onCuda, readJson, report, scientific, TOLERANCE } from "./setting.mjs";

async function norm(tensor) {
  return Math.sqrt((await tensor.toArray()).reduce((sum, value) => sum + value * value, 0));
}

/** Trains on the device with the options of a recorded run and more; gives the steps and the folder, to be removed. */
async function trained(name, ...more) {
  const outputDir = mkdtempSync(join(tmpdir(), "ip2p-gpu-train-"));
  const options = parseArguments(trainOptions, [
    ...readJson(fixture(name, "case.json")).args,
    ...["--report_to=none", `--device=${device}`, `--output_dir=${outputDir}`, `--cache_dir=${outputDir}/cache`],
    ...["--pretrained_model_name_or_path", fixture(name, "base"), "--train_data_dir", fixture(name, "dataset")],
    ...more,
  ]);
  const records = [];
  for await (const record of train(options)) records.push(record);
  return { outputDir, records };
}

for (const name of ["script-basic", "script-full"])
  test(`training ${name} gives the losses and weights of diffusers' script`, async () => {
    const { outputDir, records } = await trained(name, "--compat=diffusers");
    try {
      const trace = readFileSync(fixture(name, "trace.jsonl"), "utf8").trim().split("\n").map(JSON.parse);
      assert.equal(records.length, trace.length);
      const losses = trace.map(({ train_loss }, i) => Math.abs(records[i].trainLoss / train_loss - 1));
      const weights = await loadSafetensors(join(outputDir, "unet", "diffusion_pytorch_model.safetensors"));
      const recorded = await loadSafetensors(fixture(name, "expected.safetensors"));
      const norms = await recorded[Object.keys(recorded).find((key) => key.endsWith("norms"))].toArray();
      const { parameter_names } = readJson(fixture(name, "case.json"));
      let worst = 0;
      for (const [i, parameter] of parameter_names.entries())
        worst = Math.max(worst, Math.abs((await norm(weights[parameter])) / Number(norms[i]) - 1));

      const { losses: ofLosses, weights: ofWeights } = TOLERANCE.float32.training;
      report(`${name} losses, relative`, scientific(Math.max(...losses)), scientific(ofLosses));
      report(`${name} norms of weights, relative`, scientific(worst), scientific(ofWeights));
      assert.ok(Math.max(...losses) < ofLosses, `losses deviate by ${Math.max(...losses)}`);
      assert.ok(worst < ofWeights, `weights deviate by ${worst}`);
      for (const { peakDeviceMemoryBytes } of records) assert.equal(peakDeviceMemoryBytes > 0, onCuda);
    } finally {
      rmSync(outputDir, { recursive: true, force: true });
    }
  });

for (const precision of ["bf16", "fp16"])
  test(`training in ${precision} has losses near those in float32`, async (context) => {
    if (!onCuda && precision === "fp16") return context.skip("float16 has no CPU kernels");
    const runs = [];
    for (const mixed of ["no", precision]) {
      const run = await trained("script-basic", `--mixed_precision=${mixed}`);
      rmSync(run.outputDir, { recursive: true, force: true });
      runs.push(run.records);
    }
    const [exact, half] = runs;
    // float16 begins with a loss scale that overflows; those steps are skipped and change nothing.
    const first = Math.abs(half[0].trainLoss / exact[0].trainLoss - 1);
    report(`training in ${precision}, first loss, relative to float32`, scientific(first), scientific(0.05));
    assert.ok(first < 0.05, `the first loss deviates by ${first}`);
    assert.ok(half.every(({ trainLoss }) => Number.isFinite(trainLoss)));
  });
