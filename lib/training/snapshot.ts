import { join } from "node:path";
import { MODEL_INDEX } from "../components/model-index.js";
import { InstructPix2PixError } from "../core/errors.js";
import type { Generator } from "../core/generator.js";
import type { Tensor } from "../core/tensor.js";
import type { EpochOrderState } from "../data/permutation.js";
import { disk } from "../files/file-system.js";
import { saveSafetensors } from "../files/safetensors.js";
import { writeText } from "../files/tree.js";
import { native } from "../runtime/native.js";
import { packageVersion } from "../runtime/package-version.js";
import { type Commit, type CommitOptions, commitCheckpoint } from "./checkpoint/commit.js";
import type { JsonValue } from "./checkpoint/json-value.js";
import { recordOptions } from "./checkpoint/options.js";
import { type TrainingState, writeState } from "./checkpoint/state.js";
import type { LossScalerState } from "./loss-scaler.js";
import { disposeRecord } from "./named-tensors.js";
import { type TrainOptions, trainOptions } from "./options.js";
import { generatorsFile } from "./processes.js";
import { restoreFile, type TrainedFiles } from "./trained-files.js";
import type { Trainer } from "./trainer.js";

/** The state other than tensors that changes from step to step. */
export interface Progress {
  /** Optimizer steps done. */
  step: number;
  /** Updates of the learning rate: steps that were not skipped. */
  lrStep: number;
  /** The position in the data, the fingerprint of the data set, and how many processes there are if it is several. */
  order: EpochOrderState & { dataset: string; processes?: number };
  scaler: LossScalerState | null;
}

/** Progress and the states of all generators, right after an optimizer step. */
export interface Snapshot extends Progress {
  generators: Record<string, Uint8Array>;
}

/** Takes a snapshot; cheap enough for every step, so that an interrupted run can save its last step. */
export async function takeSnapshot(progress: Progress, generators: Record<string, Generator>): Promise<Snapshot> {
  const states: Record<string, Uint8Array> = {};
  for (const [name, generator] of Object.entries(generators)) states[name] = await generator.getState();
  return { ...progress, generators: states };
}

const OPTIMIZER = "optimizer.safetensors";
/** Averages for `ip2p ema`. */
const TRACES = "ema_traces.safetensors";

/** What is trained, and how it is kept. */
export interface Trained {
  trainer: Trainer;
  files: TrainedFiles;
}

/** The state of a trainer beside its weights; of several that share it, all of it. */
export interface WholeState {
  optimizer(): Promise<Record<string, Tensor>>;
  ema(): Promise<Record<string, Tensor>>;
}

/** What a checkpoint holds besides a trainer and a snapshot. */
export interface CheckpointExtras {
  /** Default is the trainer's own. */
  state?: WholeState | undefined;
  /** The content of its index. */
  index: string;
  /** The texts of the other processes' generators, from rank 1 on. */
  otherGenerators: readonly string[];
}

/**
 * Commits `checkpoint-<step>`: `unet/` and, with EMA weights, `unet_ema/` as diffusers model folders (`text_encoder/` and
 * `text_encoder_ema/` where that is trained) or the LoRA's files, the optimizer's moments, `state.json`, and an index by which it loads as a
 * model.
 *
 * @throws `ERR_IO`, with earlier checkpoints unchanged
 */
export async function saveCheckpoint(
  { trainer, files }: Trained,
  snapshot: Snapshot,
  options: TrainOptions,
  trackers: Record<string, JsonValue>,
  {
    index,
    otherGenerators,
    state: whole = wholeOf(trainer),
    ...identity
  }: Pick<CommitOptions, "run" | "notBefore"> & CheckpointExtras,
): Promise<Commit> {
  const write = async (folder: string) => {
    await withTensors(await trainer.weights(), (weights) => files.save(folder, "", weights, snapshot.step));
    if (options.useEma)
      await withTensors(await whole.ema(), (weights) => files.save(folder, "_ema", weights, snapshot.step));
    if (options.postHocEma)
      await withTensors(await trainer.tracesState(), (traces) => saveSafetensors(join(folder, TRACES), traces));
    await withTensors(await whole.optimizer(), (state) => saveSafetensors(join(folder, OPTIMIZER), state));
    await writeState(folder, await stateOf(snapshot, options, trackers));
    for (const [i, text] of otherGenerators.entries()) await writeText(disk, join(folder, generatorsFile(i + 1)), text);
    await writeText(disk, join(folder, MODEL_INDEX), index);
  };
  return commitCheckpoint(options.outputDir, snapshot.step, write, {
    ...identity,
    keep: options.checkpointsTotalLimit,
  });
}

function wholeOf(trainer: Trainer): WholeState {
  return { optimizer: () => trainer.optimizerState(), ema: () => trainer.emaState() };
}

async function stateOf(
  snapshot: Snapshot,
  options: TrainOptions,
  trackers: Record<string, JsonValue>,
): Promise<TrainingState> {
  const { libtorch, cpuCapability, cpuKernels } = native().systemInfo();
  return {
    globalStep: snapshot.step,
    epoch: snapshot.order.epoch,
    order: { ...snapshot.order },
    learningRate: { step: snapshot.lrStep },
    scaler: snapshot.scaler,
    ema: options.useEma ? { step: snapshot.step } : null,
    generators: snapshot.generators,
    options: recordOptions({ ...options }, trainOptions),
    versions: { "instruct-pix2pix": packageVersion(), libtorch, cpuCapability, cpuKernels },
    threads: await native().getThreads(),
    trackers,
  };
}

/**
 * Restores what is trained, unless it was loaded from the checkpoint already, the optimizer, EMA weights and generators.
 *
 * @throws `ERR_CHECKPOINT` naming a missing part
 */
export async function restoreTrainer(
  { folder, state }: { folder: string; state: TrainingState },
  { trainer, files }: Trained,
  { useEma, traces, sharded }: { useEma: boolean; traces: boolean; sharded: boolean },
  generators: Record<string, Generator>,
): Promise<void> {
  await files.restoreWeights(folder, trainer);
  await withTensors(await trainer.optimizerState(), (state) =>
    restoreFile(join(folder, OPTIMIZER), state, "the optimizer's state", sharded),
  );
  if (useEma) await withTensors(await trainer.emaState(), (average) => files.restoreAverage(folder, average, sharded));
  if (traces)
    await withTensors(await trainer.tracesState(), (kept) =>
      restoreFile(join(folder, TRACES), kept, "the averages for ip2p ema"),
    );
  for (const [name, generator] of Object.entries(generators)) {
    const saved = state.generators[name];
    if (!saved)
      throw new InstructPix2PixError("ERR_CHECKPOINT", `${folder}: the state of generator "${name}" is missing`);
    await generator.setState(saved);
  }
}

/** Passes tensors to `body` and disposes of the handles afterwards. */
export async function withTensors<T>(
  tensors: Record<string, Tensor>,
  body: (tensors: Record<string, Tensor>) => Promise<T>,
): Promise<T> {
  try {
    return await body(tensors);
  } finally {
    disposeRecord(tensors);
  }
}
