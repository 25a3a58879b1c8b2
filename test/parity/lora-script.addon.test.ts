import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { parseArguments } from "../../lib/options/parse.js";
import type { StepRecord } from "../../lib/training/events.js";
import { trainOptions } from "../../lib/training/options.js";
import { train } from "../../lib/training/train.js";
import { fixture, readJson } from "../helpers/fixtures.js";

test("with compat, a LoRA has the losses and the factors of diffusers' script with peft", async () => {
  const { args } = readJson<{ args: string[] }>(fixture("lora-script", "case.json"));
  const outputDir = mkdtempSync(join(tmpdir(), "ip2p-lora-script-"));
  try {
    const options = parseArguments(trainOptions, [
      ...args,
      ...["--lora", "--compat=diffusers", "--report_to=none"],
      `--pretrained_model_name_or_path=${fixture("ip2p-tiny", "model")}`,
      `--train_data_dir=${fixture("script-full", "dataset")}`,
      `--output_dir=${outputDir}`,
    ]);
    const records: StepRecord[] = [];
    for await (const record of train(options)) records.push(record);
    const lines = readFileSync(fixture("lora-script", "trace.jsonl"), "utf8").trim().split("\n");
    const trace = lines.map((line) => JSON.parse(line) as { step: number; train_loss: number });
    expect(records.map(({ step }) => step)).toEqual(trace.map(({ step }) => step));
    for (const [i, { train_loss }] of trace.entries())
      expect(Math.abs(records[i]!.trainLoss / train_loss - 1), `loss of step ${i + 1}`).toBeLessThan(1e-4);

    const ours = await loadSafetensors(join(outputDir, "pytorch_lora_weights.safetensors"));
    // The script writes older names, which mean the same.
    const theirs = Object.fromEntries(
      Object.entries(await loadSafetensors(fixture("lora-script", "adapter.safetensors"))).map(([name, tensor]) => [
        name.replace(".lora.down.", ".lora_A.").replace(".lora.up.", ".lora_B."),
        tensor,
      ]),
    );
    expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort());
    let [difference, size] = [0, 0];
    for (const [name, tensor] of Object.entries(theirs)) {
      const values = await ours[name]!.toArray();
      for (const [i, x] of Array.from(await tensor.toArray(), Number).entries()) {
        difference += (Number(values[i]) - x) ** 2;
        size += x ** 2;
      }
    }
    expect(Math.sqrt(difference / size)).toBeLessThan(1e-3);
  } finally {
    rmSync(outputDir, { recursive: true, force: true });
  }
});
