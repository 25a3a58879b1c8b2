import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { InstructPix2PixPipeline, isInstructPix2PixError, makeEma } from "../../lib/index.js";
import { combination, exponentOf, powerDecay } from "../../lib/training/post-hoc-ema/power-function.js";
import type { TrainInput } from "../../lib/training/train-input.js";
import { ip2p } from "../cli/run-cli.js";
import { fixture } from "../helpers/fixtures.js";
import { fingerprint, stoppedAfter, TemporaryFolder, tinyOptions, trained, watch } from "./reliability/tiny-run.js";

const STEPS = 12;
const UNET = join("unet", "diffusion_pytorch_model.safetensors");

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

const options = (name: string, more: Partial<TrainInput> = {}) => {
  const outputDir = folder.at(name);
  const given = { maxTrainSteps: STEPS, useEma: false, postHocEma: true, postHocEmaSteps: 1, ...more };
  return { ...tinyOptions(outputDir, given), outputDir };
};

/** The snapshots of the only run in an output folder. */
function snapshots(outputDir: string): string {
  const [run] = readdirSync(join(outputDir, "ema-snapshots"));
  return join(outputDir, "ema-snapshots", run!);
}

const values = async (tensor: Tensor) => Array.from(await tensor.toArray(), Number);

/** All numbers of a file, one tensor after the other. */
async function numbersOf(file: string): Promise<number[]> {
  const tensors = Object.entries(await loadSafetensors(file)).sort(([a], [b]) => (a < b ? -1 : 1));
  return (await Promise.all(tensors.map(([, tensor]) => values(tensor)))).flat();
}

/** ‖a − b‖ / ‖b − c‖ */
function distance(a: readonly number[], b: readonly number[], c: readonly number[]): number {
  const norm = (x: readonly number[], y: readonly number[]) =>
    Math.sqrt(x.reduce((sum, value, i) => sum + (value - y[i]!) ** 2, 0));
  return norm(a, b) / norm(b, c);
}

test("exponents and coefficients are those of ema-pytorch", async () => {
  const recorded = await loadSafetensors(fixture("recipes", "expected.safetensors"));
  const numbers = (name: string) => values(recorded[`post_hoc_ema.${name}`]!);
  const [widths, gammas] = [await numbers("widths"), await numbers("gammas")];
  for (const [i, width] of widths.entries()) expect(exponentOf(width) / gammas[i]!).toBeCloseTo(1, 9);
  const kept = await numbers("kept");
  const averages = (await numbers("steps")).map((step, i) => ({ step, gamma: kept[i]! }));
  // [average][wanted]
  const expected = await numbers("coefficients");
  for (const [column, gamma] of gammas.entries()) {
    const found = combination(averages, { step: 500_000, gamma });
    for (const [row, coefficient] of found.entries())
      expect(coefficient, `${row}, ${column}`).toBeCloseTo(expected[row * gammas.length + column]!, 3);
  }
});

test("averages of any width are those that would have been kept", async () => {
  const run = options("run", { checkpointingSteps: 1 });
  await trained(run);
  const weights: number[][] = [];
  for (let step = 1; step <= STEPS; step++)
    weights.push(await numbersOf(join(run.outputDir, `checkpoint-${step}`, UNET)));
  const last = weights.at(-1)!;
  const averageOf = (width: number, steps: number) =>
    weights.slice(0, steps).reduce((average, now, i) => {
      const decay = powerDecay(i + 1, exponentOf(width));
      return average.map((value, k) => decay * value + (1 - decay) * now[k]!);
    });
  // Of a width that was kept it is the snapshot itself.
  const kept = await makeEma({ model: run.outputDir, width: 0.1, output: folder.at("kept") });
  expect(kept).toEqual({ step: STEPS, snapshots: 2 * STEPS, averaged: ["unet/diffusion_pytorch_model.safetensors"] });
  const known = averageOf(0.1, STEPS);
  expect(distance(await numbersOf(join(folder.at("kept"), UNET)), known, last)).toBeLessThan(1e-3);
  for (const [width, step] of [
    [0.15, STEPS],
    [0.2, STEPS],
    [0.15, 9],
  ] as const) {
    const output = folder.at(`ema-${width}-${step}`);
    await makeEma({ model: run.outputDir, width, step, output });
    const expected = averageOf(width, step);
    expect(distance(await numbersOf(join(output, UNET)), expected, weights[step - 1]!), `${width}`).toBeLessThan(1e-3);
  }
  using pipeline = await InstructPix2PixPipeline.fromPretrained(folder.at("kept"), { device: "cpu" });
  expect(pipeline.unet.config.in_channels).toBe(8);
  const { status, stdout, stderr } = await ip2p(
    ["ema", `--model=${run.outputDir}`, "--width=0.1", `--output=${folder.at("by-command")}`],
    { cwd: folder.at(".") },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(/up to step 12 in an average of width 0\.1, from 24 snapshots\n$/);
  const [by, byFunction] = [fingerprint(folder.at("by-command")), fingerprint(folder.at("kept"))];
  expect(by).toEqual(byFunction);
});

test("a run that was stopped keeps the same averages, also in the host's memory", async () => {
  const whole = options("whole", { postHocEmaSteps: 4, useEma: true });
  await trained(whole);
  const halves = options("halves", { postHocEmaSteps: 4, useEma: true, offloadEma: true });
  await stoppedAfter(5, halves);
  await trained({ ...halves, resumeFromCheckpoint: "latest" });
  expect(readdirSync(snapshots(halves.outputDir)).sort()).toEqual(["step-12", "step-4", "step-8"]);
  for (const step of [4, 8, 12]) {
    const of = ({ outputDir }: { outputDir: string }) => {
      const { "snapshot.json": _, ...files } = fingerprint(join(snapshots(outputDir), `step-${step}`));
      return files;
    };
    expect(of(halves)).toEqual(of(whole));
  }
  expect(fingerprint(join(halves.outputDir, "unet"))).toEqual(fingerprint(join(whole.outputDir, "unet")));
});

test("a LoRA's average stays a LoRA of the base model", async () => {
  const base = { pretrainedModelNameOrPath: fixture("ip2p-tiny", "model"), lora: true, rank: 2, maxTrainSteps: 6 };
  const run = options("lora", { ...base, postHocEmaSteps: 2 });
  await trained(run);
  const output = folder.at("lora-ema");
  const { averaged } = await makeEma({ model: run.outputDir, width: 0.2, output });
  expect(averaged).toEqual(["pytorch_lora_weights.safetensors"]);
  const [made, last] = await Promise.all(
    [output, run.outputDir].map((place) => loadSafetensors(join(place, averaged[0]!))),
  );
  expect(Object.keys(made!).sort()).toEqual(Object.keys(last!).sort());
  using pipeline = await InstructPix2PixPipeline.fromPretrained(output, { device: "cpu" });
  expect(pipeline.unet.config.in_channels).toBe(8);
});

test("what cannot be averaged is named, and nothing is left behind", async () => {
  const run = options("errors", { postHocEmaSteps: 4 });
  const without = options("without", { postHocEma: false, postHocEmaSteps: undefined });
  await trained(run);
  await trained(without);
  const model = run.outputDir;
  const output = folder.at("refused");
  const refused = async (given: Parameters<typeof makeEma>[0], code: string, message: RegExp) => {
    const error = await makeEma(given).catch((reason: unknown) => reason);
    expect(isInstructPix2PixError(error) && error.code, String(error)).toBe(code);
    expect((error as Error).message).toMatch(message);
    expect(existsSync(output)).toBe(false);
  };
  await refused({ model, output, width: 0.5 }, "ERR_INVALID_ARGUMENT", /0\.01 to 0\.28/);
  await refused({ model, output, width: 0.1, step: 5 }, "ERR_INVALID_ARGUMENT", /those of 4, 8, 12/);
  await refused({ model: without.outputDir, output, width: 0.1 }, "ERR_CHECKPOINT", /postHocEma/);
  await refused({ model: folder.at("nothing"), output, width: 0.1 }, "ERR_FILE_NOT_FOUND", /model_index/);
  await refused({ model, output: model, width: 0.1 }, "ERR_IO", /not empty/);
  for (const [given, message] of [
    [{ postHocEma: false, postHocEmaSteps: 3 }, /give postHocEma too/],
    [{ postHocEma: false, postHocEmaSteps: undefined, offloadEma: true }, /give useEma or postHocEma/],
  ] as const) {
    const { error } = await watch(options("never", given));
    expect((error as Error).message).toMatch(message);
  }
});
