import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import type { Tensor } from "../../../lib/core/tensor.js";
import { loadSafetensors } from "../../../lib/files/safetensors.js";
import { parseArguments } from "../../../lib/options/parse.js";
import { trainOptions } from "../../../lib/training/options.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { fixture, readJson } from "../../helpers/fixtures.js";
import { Ranks } from "./ranks.js";

interface ScriptCase {
  base: string;
  processes: number;
  args: string[];
  parameter_names: string[];
}

async function norm(tensor: Tensor): Promise<number> {
  let sum = 0;
  for (const x of await tensor.toArray()) sum += Number(x) ** 2;
  return Math.sqrt(sum);
}

let outputDir: string;
afterEach(() => rmSync(outputDir, { recursive: true, force: true }));

test.each(["script-ddp2", "script-ddp3", "script-ddp4"])(
  "with compat, %s gives the losses and weights of diffusers' script under torchrun",
  async (name) => {
    const { base, processes, args, parameter_names } = readJson<ScriptCase>(fixture(name, "case.json"));
    outputDir = mkdtempSync(join(tmpdir(), "ip2p-ddp-"));
    const options = parseArguments(trainOptions, [
      ...args,
      "--compat=diffusers",
      "--report_to=none",
      `--pretrained_model_name_or_path=${fixture(base, "base")}`,
      `--train_data_dir=${fixture(base, "dataset")}`,
      `--output_dir=${outputDir}`,
    ]) as TrainInput;
    const ended = await (await Ranks.start(processes, options)).ended;
    expect(ended.map(({ status, stderr }) => [status, stderr])).toEqual(ended.map(() => [0, ""]));

    const trace = readFileSync(fixture(name, "trace.jsonl"), "utf8").trim().split("\n");
    const losses = trace.map((line) => (JSON.parse(line) as { train_loss: number }).train_loss);
    const steps = ended[0]!.told.filter(({ event }) => event === "step");
    expect(steps.length).toBe(losses.length);
    for (const [i, loss] of losses.entries())
      expect(Math.abs((steps[i]!.train_loss as number) / loss - 1), `loss of step ${i + 1}`).toBeLessThan(1e-4);

    const weights = await loadSafetensors(join(outputDir, "unet", "diffusion_pytorch_model.safetensors"));
    const recorded = await loadSafetensors(fixture(name, "expected.safetensors"));
    const norms = await recorded[Object.keys(recorded).find((key) => key.endsWith("norms"))!]!.toArray();
    for (const [i, parameter] of parameter_names.entries())
      expect(Math.abs((await norm(weights[parameter]!)) / Number(norms[i]) - 1), parameter).toBeLessThan(1e-3);
  },
);
