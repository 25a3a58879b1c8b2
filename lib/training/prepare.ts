import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { type EditDataset, openDataset } from "../data/index.js";
import { drawnPermutations, EpochOrder, seededPermutations } from "../data/permutation.js";
import { resolveDevice } from "../device.js";
import { InstructPix2PixError } from "../errors.js";
import { Generator, randomSeed } from "../generator.js";
import { ioError } from "../io-error.js";
import { readConfig } from "../models/config.js";
import { componentClass, readModelIndex } from "../models/model-index.js";
import { native } from "../native/native.js";
import { allowTf32, useDeterministicAlgorithms } from "../numerics.js";
import { SCHEDULER_NAMES, schedulerFromClassName } from "../schedulers/registry.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { ModelDType } from "../tensor.js";
import { checkMetricsFile } from "../tracking/metrics-file.js";
import { type BaseModel, disposeBaseModel, drawConvInLikeReference, loadBaseModel } from "./base_model.js";
import { latestValidCheckpoint } from "./checkpoint/find.js";
import { assertSameOptions, compareOptions, recordOptions } from "./checkpoint/options.js";
import { verifyCheckpoint } from "./checkpoint/verify.js";
import { type Draws, drawsFrom } from "./draws.js";
import type { TrainEvent } from "./events.js";
import { type Flips, flipsBySeed, flipsLikeReference, noFlips } from "./flips.js";
import { LossScaler } from "./loss_scaler.js";
import { type TrainOptions, trainOptions } from "./options.js";
import { readSavedRun, restoreTrainer, type SavedRun } from "./snapshot.js";
import { timestepBias } from "./timestep_bias.js";
import { Trainer } from "./trainer.js";

/** A run with everything loaded and, where asked for, put back to where a checkpoint left it. */
export interface PreparedRun {
  options: TrainOptions & { seed: bigint };
  device: string;
  base: BaseModel;
  dataset: EditDataset;
  order: EpochOrder;
  flips: Flips;
  draws: Draws;
  generators: Record<string, Generator>;
  trainer: Trainer;
  scaler: LossScaler | null;
  /** For validation and the saved pipeline: the base model's own. */
  scheduler: Scheduler;
  updatesPerEpoch: number;
  totalSteps: number;
  /** The checkpoint the run goes on from. */
  resumed: SavedRun | undefined;
}

const FROZEN_DTYPE: Record<TrainOptions["mixedPrecision"], ModelDType> = {
  no: "float32",
  bf16: "bfloat16",
  fp16: "float16",
};

/** Loads everything a run needs; what is cheap to find wrong is looked at first. */
export async function prepareRun(
  given: TrainOptions,
  tell: (event: TrainEvent) => void,
  signal: AbortSignal | undefined,
): Promise<PreparedRun> {
  native(); // a missing libtorch is reported before anything else
  checkTogether(given);
  const device = resolveDevice(given.compat && given.device === "auto" ? "cpu" : given.device);
  if (given.numThreads !== undefined) await native().setThreads(given.numThreads);
  allowTf32(given.allowTf32);
  useDeterministicAlgorithms(given.deterministic);
  await makeOutputFolder(given.outputDir);
  await checkMetricsFile(given.outputDir);

  const resumed = await findCheckpoint(given, tell, signal);
  const savedSeed = resumed && BigInt(String(resumed.state.options.seed));
  const options = { ...given, seed: given.seed ?? savedSeed ?? BigInt(randomSeed()) };
  if (resumed) await checkResumed(resumed, options, tell);

  tell({ type: "loading", what: options.trainDataDir ?? options.datasetName! });
  const dataset = await openDataset({
    ...options,
    signal,
    onProgress: (progress) => tell({ type: "preparing", ...progress }),
  });
  if (resumed) checkDataset(resumed, dataset, options);
  tell({ type: "loading", what: options.pretrainedModelNameOrPath });
  const base = await loadBaseModel({
    ...options,
    device,
    frozenDType: FROZEN_DTYPE[options.mixedPrecision],
    checkpoint: resumed?.folder,
    signal,
  });
  try {
    checkUNet(base);
    const compat = options.compat === "diffusers";
    const generators = { cpu: new Generator("cpu", options.seed), dropout: dropoutGenerator(options.seed, compat) };
    if (compat && base.extended) await drawConvInLikeReference(base.unet, generators.cpu);

    const trainer = await Trainer.create(
      base.unet,
      {
        adamBeta1: options.adamBeta1,
        adamBeta2: options.adamBeta2,
        adamEpsilon: options.adamEpsilon,
        adamWeightDecay: options.adamWeightDecay,
        use8bitAdam: options.use8bitAdam,
        useEma: options.useEma,
        gradientCheckpointing: options.gradientCheckpointing,
        shadowWeights: options.shadowWeights,
        mixedPrecision: options.mixedPrecision === "no" ? null : autocastType(options.mixedPrecision),
      },
      options.trainTextEncoder ? base.textEncoder : null,
    );
    // The reference saves no state of the dropout generator, so a resumed run starts it anew.
    if (resumed) await restoreTrainer(resumed, trainer, options.useEma, compat ? { cpu: generators.cpu } : generators);

    const updatesPerEpoch = Math.ceil(
      Math.ceil(dataset.length / options.trainBatchSize) / options.gradientAccumulationSteps,
    );
    return {
      options,
      device,
      base,
      dataset,
      order: orderOf(options, dataset, generators.cpu, resumed, updatesPerEpoch),
      flips: !options.randomFlip ? noFlips : compat ? flipsLikeReference(generators.cpu) : flipsBySeed(options.seed),
      draws: drawsFrom(
        generators.cpu,
        generators.dropout,
        device,
        timestepBias(options, base.noiseSchedule.alphasCumprod.length),
      ),
      generators,
      trainer,
      scaler: options.mixedPrecision === "fp16" ? new LossScaler(resumed?.state.scaler ?? undefined) : null,
      scheduler: await loadScheduler(base.folder),
      updatesPerEpoch,
      totalSteps: options.maxTrainSteps ?? options.numTrainEpochs * updatesPerEpoch,
      resumed,
    };
  } catch (error) {
    disposeBaseModel(base);
    await dataset.close();
    throw error;
  }
}

/** Options that make no sense together, or that a mode does not cover. */
function checkTogether(options: TrainOptions): void {
  const refuse = (message: string): never => {
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", message);
  };
  if (options.datasetName === undefined && options.trainDataDir === undefined)
    refuse("give a data set: dataset_name or train_data_dir");
  if (options.pretrainedModelNameOrPath.trim() === "") refuse("pretrained_model_name_or_path is empty");
  if (options.lrScheduler === "piecewise_constant" && options.lrStepRules === undefined)
    refuse('lr_scheduler "piecewise_constant" needs lr_step_rules, e.g. "1:10,0.1:20,0.01"');
  if ((options.valImageUrl === undefined) !== (options.validationPrompt === undefined))
    refuse("validation needs both val_image_url and validation_prompt");
  if (options.compat !== "diffusers") return;
  const uncovered = {
    dataloader_num_workers: options.dataloaderNumWorkers > 0,
    max_train_samples: options.maxTrainSamples !== undefined,
    mixed_precision: options.mixedPrecision !== "no",
    use_8bit_adam: options.use8bitAdam,
    train_text_encoder: options.trainTextEncoder,
    timestep_bias_strategy: options.timestepBiasStrategy !== "none",
    seed: options.seed === undefined,
  };
  for (const [name, given] of Object.entries(uncovered))
    if (given)
      refuse(
        name === "seed"
          ? "compat needs a seed: without one the reference does not run"
          : `compat does not cover ${name}; leave one of them out`,
      );
}

/** Creates the output folder, and makes sure that it can be written to before anything takes long. */
async function makeOutputFolder(outputDir: string): Promise<void> {
  try {
    await mkdir(outputDir, { recursive: true });
    await rmdir(await mkdtemp(join(outputDir, ".writable-")));
  } catch (error) {
    throw ioError("write to the output folder", outputDir, error);
  }
}

async function findCheckpoint(
  options: TrainOptions,
  tell: (event: TrainEvent) => void,
  signal: AbortSignal | undefined,
): Promise<SavedRun | undefined> {
  const asked = options.resumeFromCheckpoint;
  if (asked === undefined) return undefined;
  if (asked !== "latest") {
    // Like the reference, a bare name is looked for in the output folder.
    const folder = existsSync(asked) ? asked : join(options.outputDir, asked);
    if (!existsSync(folder))
      throw new InstructPix2PixError(
        "ERR_FILE_NOT_FOUND",
        `there is no checkpoint ${asked}, here or in ${options.outputDir}`,
      );
    await verifyCheckpoint(folder, { signal });
    return readSavedRun(folder);
  }
  const latest = await latestValidCheckpoint(
    options.outputDir,
    ({ path, error }) => tell({ type: "warning", message: `${path} is broken and passed over: ${error.message}` }),
    { signal },
  );
  if (latest) return readSavedRun(latest.path);
  tell({ type: "warning", message: `there is no checkpoint in ${options.outputDir}; training starts anew` });
  return undefined;
}

async function checkResumed(
  { folder, state }: SavedRun,
  options: TrainOptions,
  tell: (event: TrainEvent) => void,
): Promise<void> {
  const changed = compareOptions(state.options, recordOptions({ ...options }, trainOptions), trainOptions);
  if (!options.allowChangedOptions) assertSameOptions(changed, folder);
  for (const { name, saved, now } of changed)
    tell({ type: "warning", message: `--${name} was ${saved} and is ${now}: the run's numbers change` });
  const { libtorch, cpuCapability } = native().systemInfo();
  const made: Record<string, string> = { ...state.versions, threads: String(state.threads) };
  for (const [name, now] of Object.entries({ libtorch, cpuCapability, threads: String(await native().getThreads()) })) {
    const before = made[name];
    if (before !== undefined && before !== now)
      tell({
        type: "warning",
        message: `the checkpoint was made with ${name} ${before}, this is ${now}: rounding may differ`,
      });
  }
}

/** The order of the rows goes on where it was, so they have to be the same rows. */
function checkDataset({ folder, state }: SavedRun, dataset: EditDataset, options: TrainOptions): void {
  const saved = (state.order as { dataset?: unknown } | null)?.dataset;
  if (saved === dataset.fingerprint || options.allowChangedOptions) return;
  throw new InstructPix2PixError(
    "ERR_CHECKPOINT",
    `${folder}: was made with another data set, or its rows have changed; --allow_changed_options goes on all the same`,
  );
}

function checkUNet({ unet }: BaseModel): void {
  const { dropout } = unet.config;
  if (dropout !== undefined && dropout !== null && dropout !== 0)
    throw new InstructPix2PixError("ERR_CONFIG", `the UNet's "dropout" is ${dropout}; training knows 0 only`);
}

/** The reference seeds both generators alike; here they are independent. */
function dropoutGenerator(seed: bigint, compat: boolean): Generator {
  return new Generator("cpu", compat ? seed : (seed + 0x9e3779b97f4a7c15n) % 2n ** 64n);
}

function autocastType(mixedPrecision: "bf16" | "fp16"): "bfloat16" | "float16" {
  return mixedPrecision === "bf16" ? "bfloat16" : "float16";
}

function orderOf(
  options: TrainOptions & { seed: bigint },
  dataset: EditDataset,
  generator: Generator,
  resumed: SavedRun | undefined,
  updatesPerEpoch: number,
): EpochOrder {
  const place = { length: dataset.length, batchSize: options.trainBatchSize };
  if (options.compat === "diffusers") {
    // The reference enters the epoch anew and passes over what was done of it; its draws are the generator's state.
    const epoch = Math.floor((resumed?.state.globalStep ?? 0) / updatesPerEpoch);
    return new EpochOrder({ ...place, source: drawnPermutations(generator), epoch });
  }
  const source = seededPermutations(options.seed);
  return resumed
    ? EpochOrder.fromJSON(resumed.state.order, { ...place, source })
    : new EpochOrder({ ...place, source });
}

async function loadScheduler(folder: string): Promise<Scheduler> {
  const name = componentClass(await readModelIndex(folder), "scheduler", SCHEDULER_NAMES);
  return schedulerFromClassName(name).fromConfig(await readConfig(join(folder, "scheduler", "scheduler_config.json")));
}
