import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseList } from "../../../lib/cli/launch/cores.js";
import { loadSafetensors } from "../../../lib/files/safetensors.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { checkpoints, finalWeights, TemporaryFolder, tinyOptions } from "../reliability/tiny-run.js";
import { Launched } from "./launched.js";

const STEPS = 60;
const options = (outputDir: string, more: Partial<TrainInput> = {}) =>
  tinyOptions(outputDir, { trainBatchSize: 1, maxTrainSteps: STEPS, distributedTimeout: 20, ...more });

async function finished(launched: Launched): Promise<void> {
  const { status, stderr } = await launched.ended;
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
}

test("ranks end with a launcher that was killed, after a checkpoint, and have cores of their own", async () => {
  using folder = new TemporaryFolder();
  await finished(new Launched(2, options(folder.at("whole"))));
  // With a shared optimizer, whose parts have to be gathered for the checkpoint.
  const killed = new Launched(2, options(folder.at("killed"), { shardOptimizer: true }));
  await killed.reached(3);
  const ids = killed.ranks;
  const cores = ids.map((id) =>
    parseList(/^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(`/proc/${id}/status`, "utf8"))![1]!),
  );
  if (availableParallelism() > 1) expect(cores[0]!.filter((core) => cores[1]!.includes(core))).toEqual([]);
  killed.child.kill("SIGKILL");
  await killed.ended;
  while (ids.some((id) => existsSync(`/proc/${id}`))) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(checkpoints(folder.at("killed")).length).toBe(1);
  await finished(new Launched(2, options(folder.at("killed"), { resumeFromCheckpoint: "latest" })));
  expect(finalWeights(folder.at("killed"))).toBe(finalWeights(folder.at("whole")));
}, 600_000);

/** Values of the tensors of a checkpoint's file. */
async function tensorsOf(...path: string[]): Promise<Record<string, number[]>> {
  const tensors = await loadSafetensors(join(...path));
  const values: Record<string, number[]> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    values[name] = Array.from(await tensor.toArray(), Number);
    tensor.dispose();
  }
  return values;
}

test("a shared optimizer's checkpoints are whole, and any number of processes goes on from them", async () => {
  using folder = new TemporaryFolder();
  const short = (name: string, more: Partial<TrainInput> = {}) =>
    options(folder.at(name), { maxTrainSteps: 6, checkpointingSteps: 3, ...more });
  await finished(new Launched(2, short("whole")));
  await finished(new Launched(2, short("shared", { shardOptimizer: true })));
  expect(finalWeights(folder.at("shared"))).toBe(finalWeights(folder.at("whole")));
  for (const file of ["optimizer.safetensors", "unet_ema/diffusion_pytorch_model.safetensors"])
    expect(await tensorsOf(folder.at("shared"), "checkpoint-3", file)).toEqual(
      await tensorsOf(folder.at("whole"), "checkpoint-3", file),
    );

  const from = { resumeFromCheckpoint: folder.at("shared/checkpoint-3") };
  // Shared or not, as many go on to the same bits.
  for (const shardOptimizer of [true, false]) {
    const name = `again-${shardOptimizer}`;
    await finished(new Launched(2, short(name, { ...from, shardOptimizer })));
    expect(finalWeights(folder.at(name))).toBe(finalWeights(folder.at("whole")));
  }
  // One process with twice the batch has the same rows in every step, and comes to the same place in the data.
  const one = await new Launched(1, short("one", { ...from, trainBatchSize: 2 })).ended;
  expect(one.status).toBe(0);
  expect(one.stdout).toContain("steps have the same rows");
  const { processes: _, ...place } = orderOf(folder.at("whole"));
  expect(orderOf(folder.at("one"))).toEqual(place);
  // Three cannot, and are refused by name, unless they may differ.
  const three = short("three", { ...from, shardOptimizer: true });
  expect((await new Launched(3, three).ended).stderr).toMatch(/was made by 2 processes.*this run has 3 processes/);
  expect((await new Launched(3, { ...three, allowChangedOptions: true }).ended).status).toBe(0);
}, 600_000);

function orderOf(outputDir: string): { processes?: number; epoch: number; cursor: number } {
  const { order } = JSON.parse(readFileSync(join(outputDir, "checkpoint-6", "state.json"), "utf8")) as {
    order: { processes?: number; epoch: number; cursor: number };
  };
  return order;
}
