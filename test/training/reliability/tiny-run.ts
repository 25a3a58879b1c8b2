import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { isInstructPix2PixError } from "../../../lib/core/errors.js";
import type { StepRecord, TrainEvent, TrainResult } from "../../../lib/training/events.js";
import { type TrainCallbacks, train } from "../../../lib/training/train.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { fixture } from "../../helpers/fixtures.js";

/** A text-to-image model of a few thousand weights. */
export const tinyBase = fixture("script-full", "base");
/** Ten pairs. */
export const tinyPairs = fixture("script-full", "dataset");

/**
 * Everything that a resumed run must restore: EMA weights, flips, dropped conditioning, a schedule of the learning
 * rate, and windows of two batches of which the third of an epoch has only one, so that an epoch is three steps.
 */
export function tinyOptions(outputDir: string, more: Partial<TrainInput> = {}): TrainInput {
  return {
    pretrainedModelNameOrPath: tinyBase,
    trainDataDir: tinyPairs,
    outputDir,
    resolution: 32,
    trainBatchSize: 2,
    gradientAccumulationSteps: 2,
    learningRate: 1e-3,
    lrScheduler: "cosine",
    lrWarmupSteps: 3,
    conditioningDropoutProb: 0.2,
    randomFlip: true,
    useEma: true,
    seed: 3n,
    maxTrainSteps: 9,
    checkpointingSteps: 100,
    reportTo: "none",
    device: "cpu",
    ...more,
  };
}

export interface Watched {
  records: StepRecord[];
  events: TrainEvent[];
  warnings: string[];
  result: TrainResult | undefined;
  error: unknown;
}

/** Trains to the end or to an error, and tells all that was heard of it. */
export async function watch(options: TrainInput & Omit<TrainCallbacks, "onEvent">): Promise<Watched> {
  const seen: Watched = { records: [], events: [], warnings: [], result: undefined, error: undefined };
  try {
    seen.result = await train({
      ...options,
      onStep: async (record) => {
        seen.records.push(record);
        await options.onStep?.(record);
      },
      onEvent: (event) => {
        seen.events.push(event);
        if (event.type === "warning") seen.warnings.push(event.message);
      },
    });
  } catch (error) {
    seen.error = error;
  }
  return seen;
}

/** Trains to the end. */
export async function trained(options: TrainInput & Omit<TrainCallbacks, "onEvent">): Promise<Watched> {
  const seen = await watch(options);
  if (seen.error !== undefined) throw seen.error;
  return seen;
}

/** Trains until step `last` is done, then stops as a signal would. */
export async function stoppedAfter(last: number, options: TrainInput): Promise<Watched> {
  const stop = new AbortController();
  const seen = await watch({
    ...options,
    signal: stop.signal,
    onStep: ({ step }) => {
      if (step === last) stop.abort();
    },
  });
  expectError(seen, "ERR_ABORTED");
  return seen;
}

/** The message of the error that a run ended with, which must have this code. */
export function expectError(seen: Watched, code: Parameters<typeof isInstructPix2PixError>[1]): string {
  expect(isInstructPix2PixError(seen.error, code), String((seen.error as Error)?.stack ?? seen.error)).toBe(true);
  return (seen.error as Error).message;
}

/** SHA-256 of everything in a checkpoint that belongs to the run's numbers. */
export function fingerprint(checkpoint: string): Record<string, string> {
  const hashes: Record<string, string> = {};
  for (const path of filesBelow(checkpoint)) {
    if (path === "manifest.json") continue;
    let bytes: Buffer = readFileSync(join(checkpoint, path));
    if (path === "state.json") {
      const { options: _, ...state } = JSON.parse(bytes.toString()) as Record<string, unknown>;
      bytes = Buffer.from(JSON.stringify(state));
    }
    if (path === "model_index.json") {
      const { _base_model: _, ...index } = JSON.parse(bytes.toString()) as Record<string, unknown>;
      bytes = Buffer.from(JSON.stringify(index));
    }
    hashes[path] = createHash("sha256").update(bytes).digest("hex");
  }
  return hashes;
}

/** SHA-256 of the weights that a run ended with. */
export function finalWeights(outputDir: string): string {
  const lora = join(outputDir, "pytorch_lora_weights.safetensors");
  const weights = readFileSync(
    existsSync(lora) ? lora : join(outputDir, "unet", "diffusion_pytorch_model.safetensors"),
  );
  return createHash("sha256").update(weights).digest("hex");
}

export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** The lines of metrics.jsonl. */
export function metrics(outputDir: string): { step: number; train_loss: number | null }[] {
  return readFileSync(join(outputDir, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { step: number; train_loss: number | null });
}

export function checkpoints(outputDir: string): string[] {
  return readdirSync(outputDir)
    .filter((name) => name.startsWith("checkpoint-"))
    .sort((a, b) => Number(a.slice(11)) - Number(b.slice(11)));
}

/** 1 … n */
export function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1);
}

/** A temporary folder; removed by `using`. */
export class TemporaryFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "ip2p-train-"));

  at(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  /** A copy of the base model that may be broken at will. */
  copyOfBase(name = "base"): string {
    cpSync(tinyBase, this.at(name), { recursive: true });
    return this.at(name);
  }

  /** A copy of the data set that may be broken at will. */
  copyOfPairs(name = "pairs"): string {
    cpSync(tinyPairs, this.at(name), { recursive: true });
    return this.at(name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
