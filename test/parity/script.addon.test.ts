import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { parseArguments } from "../../lib/options/parse.js";
import type { StepRecord } from "../../lib/training/events.js";
import { trainOptions } from "../../lib/training/options.js";
import { train } from "../../lib/training/train.js";
import { fixture, readJson } from "../helpers/fixtures.js";

interface ScriptCase {
  args: string[];
  parameter_names: string[];
}

async function norm(tensor: Tensor): Promise<number> {
  let sum = 0;
  for (const x of await tensor.toArray()) sum += Number(x) ** 2;
  return Math.sqrt(sum);
}

describe.each(["script-basic", "script-full", "sdxl-script-basic", "sdxl-script-full"])(
  "with compat, %s gives the losses and weights of diffusers' script",
  (name) => {
    const { args, parameter_names } = readJson<ScriptCase>(fixture(name, "case.json"));
    const trace = readFileSync(fixture(name, "trace.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { step: number; train_loss: number });
    let outputDir: string;
    afterEach(() => rmSync(outputDir, { recursive: true, force: true }));

    const layouts = ["dataset", "parquet"].filter((data) => existsSync(fixture(name, data)));
    test.each(layouts)("from its %s", async (data) => {
      outputDir = mkdtempSync(join(tmpdir(), "ip2p-script-"));
      const where = data === "dataset" ? "--train_data_dir" : "--dataset_name";
      const options = parseArguments(trainOptions, [
        ...args,
        "--compat=diffusers",
        "--report_to=none",
        `--pretrained_model_name_or_path=${fixture(name, "base")}`,
        `--cache_dir=${join(outputDir, "cache")}`,
        where,
        fixture(name, data),
        `--output_dir=${outputDir}`,
      ]);
      const records: StepRecord[] = [];
      for await (const record of train(options)) records.push(record);

      expect(records.map(({ step }) => step)).toEqual(trace.map(({ step }) => step));
      for (const [i, { train_loss }] of trace.entries())
        expect(Math.abs(records[i]!.trainLoss / train_loss - 1), `loss of step ${i + 1}`).toBeLessThan(1e-4);

      const weights = await loadSafetensors(join(outputDir, "unet", "diffusion_pytorch_model.safetensors"));
      const recorded = await loadSafetensors(fixture(name, "expected.safetensors"));
      const normsKey = Object.keys(recorded).find((key) => key.endsWith("norms"))!;
      const norms = Array.from(await recorded[normsKey]!.toArray(), Number);
      for (const [i, parameter] of parameter_names.entries())
        expect(Math.abs((await norm(weights[parameter]!)) / norms[i]! - 1), parameter).toBeLessThan(1e-3);
    });
  },
);
