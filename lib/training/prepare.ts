import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { Generator, randomSeed } from "../core/generator.js";
import { allowTf32, useDeterministicAlgorithms } from "../core/numerics.js";
import type { AsyncScope } from "../core/scope.js";
import type { ModelDType } from "../core/tensor.js";
import type { Buckets } from "../data/buckets.js";
import { createLoader, type EditDataset, type Loader, openDataset } from "../data/index.js";
import {
  drawnPermutations,
  EpochOrder,
  type EpochOrderState,
  groupedPermutations,
  type PermutationSource,
  seededPermutations,
  sharedPermutations,
} from "../data/permutation.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { camelCase } from "../options/names.js";
import { native } from "../runtime/native.js";
import { checkMetricsFile } from "../tracking/metrics-file.js";
import { openBuckets } from "./buckets.js";
import { assertSameOptions, compareOptions, recordOptions } from "./checkpoint/options.js";
import type { TrainingState } from "./checkpoint/state.js";
import { restoreDiffusersAverage } from "./compat/diffusers-checkpoint.js";
import { trainingDevice } from "./device.js";
import { type Draws, drawsFrom } from "./draws.js";
import type { TrainEvent } from "./events.js";
import { type Flips, flipsBySeed, flipsLikeReference, noFlips } from "./flips.js";
import { addLora } from "./lora.js";
import { LossScaler } from "./loss-scaler.js";
import { checkTrainingMemory } from "./memory.js";
import { type TrainOptions, trainOptions } from "./options.js";
import { checkPlaces } from "./output-places.js";
import { KEPT_WIDTHS } from "./post-hoc-ema/power-function.js";
import { checkProcesses, processesOf, stateOfRank } from "./processes.js";
import { noProfile, type Profile, recordProfile } from "./profile.js";
import { drawConvInLikeReference } from "./recipes/edit/conv-in.js";
import type { EditModels } from "./recipes/edit/models.js";
import { checkValidation, loadValidation, type ValidationInput } from "./recipes/edit/validate.js";
import type { LoopRules, Recipe } from "./recipes/recipe.js";
import { findStart, type Resumption, type StartingPoint } from "./resume.js";
import { Shards } from "./shards.js";
import { restoreTrainer } from "./snapshot.js";
import { timestepBias } from "./timestep-bias.js";
import { checkSameModel, checkSameOptions, startTogether } from "./together.js";
import { ModelFiles, type TrainedFiles } from "./trained-files.js";
import { Trainer } from "./trainer.js";

/** A run with everything loaded and, on request, restored from a checkpoint. */
export interface PreparedRun extends StartingPoint {
  options: TrainOptions & { seed: bigint };
  device: string;
  recipe: Recipe;
  rules: LoopRules;
  models: EditModels;
  dataset: EditDataset;
  /** Undefined unless images keep their proportions. */
  buckets: Buckets | undefined;
  order: EpochOrder;
  flips: Flips;
  draws: Draws;
  generators: Record<string, Generator>;
  trainer: Trainer;
  /** How what is trained is kept. */
  files: TrainedFiles;
  scaler: LossScaler | null;
  updatesPerEpoch: number;
  totalSteps: number;
  /** The processes that train together. */
  group: ProcessGroup;
  /** Where the parts of a trainer are that the processes share. */
  shards: Shards | undefined;
  /** Undefined without validation, which is rank 0's. */
  validation: ValidationInput | undefined;
  /** Whether rank 0 validates. */
  validates: boolean;
  profile: Profile;
}

const FROZEN_DTYPE: Record<TrainOptions["mixedPrecision"], ModelDType> = {
  no: "float32",
  bf16: "bfloat16",
  fp16: "float16",
};

/**
 * Loads everything a run needs, with cheap checks first. The output folder is locked already.
 *
 * @param scope closes and frees what is loaded, also if this function throws
 */
export async function prepareRun(
  given: TrainOptions,
  recipe: Recipe,
  group: ProcessGroup,
  tell: (event: TrainEvent) => void,
  scope: AsyncScope,
  signal: AbortSignal | undefined,
): Promise<PreparedRun> {
  const warn = (message: string) => tell({ type: "warning", message });
  const device = trainingDevice(given, group.size > 1 ? group.localRank : undefined);
  if (given.weightsDtype === "bf16" && device !== "cpu")
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      'weightsDtype "bf16" is for the CPU only; give device "cpu"',
    );
  if (given.numThreads !== undefined) await native().setThreads(given.numThreads);
  allowTf32(given.allowTf32);
  useDeterministicAlgorithms(given.deterministic);
  const { folders, validationImage } = recipe;
  if (group.isMain) {
    await checkMetricsFile(given.outputDir);
    await checkPlaces(given.outputDir, { folders, validates: given.validationPrompt !== undefined });
  }
  const validation = group.isMain ? await loadValidation(validationImage, given, signal) : undefined;
  const validates = await group.share(async () => validation !== undefined);
  const start = await startTogether(group, () => findStart(given, warn, signal));
  const { resumed } = start;
  const { state } = resumed ?? {};
  const seed = await group.share(async () => String(given.seed ?? savedSeed(state) ?? BigInt(randomSeed())));
  const options = { ...given, seed: BigInt(seed) };
  if (resumed && state) {
    const isDealtAnew = checkProcesses(resumed.folder, state, given, group.size);
    await checkResumed(resumed.folder, state, options, isDealtAnew, tell);
  }
  await checkSameOptions(group, options);

  tell({ type: "loading", what: options.datasetName ?? options.trainDataDir ?? "tar shards" });
  const dataset = await openDataset({
    ...options,
    signal,
    onProgress: (progress) => tell({ type: "preparing", ...progress }),
  });
  scope.defer(() => dataset.close());
  if (resumed && state) checkDataset(resumed.folder, state, dataset, options);
  tell({ type: "loading", what: options.pretrainedModelNameOrPath });
  const models = await recipe.load(options, {
    device,
    frozenDType: FROZEN_DTYPE[options.mixedPrecision],
    // What a LoRA is added to is the base model, also later.
    trained: resumed && !options.lora ? trainedParts(resumed, options) : undefined,
    checkMemory: device === "cpu" ? (models) => checkTrainingMemory(models, options) : undefined,
    signal,
  });
  scope.defer(() => models.dispose());
  checkUNet(models);
  const buckets = await openBuckets(
    dataset,
    options,
    models.autoencoder.scaleFactor,
    { onProgress: (done, total) => tell({ type: "preparing", stage: "sizes", done, total }), warn },
    signal,
  );
  if (validation) await checkValidation(validation, models);
  const compat = options.compat === "diffusers";
  const generators = generatorsOf(options, resumed, group);
  // The script for LoRAs replaces the convolution of every model.
  if (compat && (models.extended || options.lora)) await drawConvInLikeReference(models.unet, generators.cpu);
  const files = options.lora ? await addLora(models, options, generators.cpu) : new ModelFiles(models);
  const source = await permutationsOf(options, dataset, generators.cpu, group);

  if (options.releaseGradients && group.size > 1)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      "releaseGradients is for one process: several average their gradients before the update",
    );
  const sharded = options.shardOptimizer && group.size > 1;
  const trainer = await Trainer.create(
    models.unet,
    {
      adamBeta1: options.adamBeta1,
      adamBeta2: options.adamBeta2,
      adamEpsilon: options.adamEpsilon,
      adamWeightDecay: options.adamWeightDecay,
      optimizer: options.use8bitAdam ? "adamw_8bit" : options.optimizer,
      useEma: options.useEma,
      offloadEma: options.offloadEma,
      traces: tracesOf(options, group),
      gradientCheckpointing: options.gradientCheckpointing,
      releaseGradients: options.releaseGradients,
      shadowWeights: options.shadowWeights,
      bfloat16Weights: options.weightsDtype === "bf16",
      weightsRounding: options.weightsRounding,
      ...(sharded && { shardRank: group.rank, shardCount: group.size }),
      roundingSeed: Number(BigInt.asUintN(53, options.seed)),
      mixedPrecision: options.mixedPrecision === "no" ? null : autocastType(options.mixedPrecision),
      dropoutSeed: Number(BigInt.asUintN(53, options.seed + BigInt(group.rank) * SEED_DISTANCE)),
    },
    models.textEncoders,
    options.lora,
  );
  scope.add(trainer);
  if (resumed && state)
    // The reference does not save the dropout generator's state, so a resumed run reseeds it.
    await restoreTrainer(
      { folder: resumed.folder, state: await stateOfRank(resumed.folder, state, group) },
      { trainer, files },
      { useEma: options.useEma, traces: tracesOf(options, group) > 0, sharded },
      group.rank >= processesOf(state) ? {} : compat ? { cpu: generators.cpu } : generators,
    );
  else if (resumed && options.useEma) await restoreDiffusersAverage(resumed.folder, trainer, sharded);

  if (group.native) {
    await checkSameModel(group, await trainer.weights());
    const { native } = group;
    await group.exchange(() => trainer.distribute(native, options.reduceDtype === "bf16" ? "bfloat16" : undefined));
  }
  const shards = sharded ? await Shards.agree(group, trainer) : undefined;
  const { order, updatesPerEpoch } = await orderOf(options, { dataset, buckets }, source, group, resumed);
  return {
    ...start,
    options,
    device,
    recipe,
    rules: recipe.rules(options),
    models,
    dataset,
    buckets,
    order,
    group,
    flips: !options.randomFlip ? noFlips : compat ? flipsLikeReference(generators.cpu) : flipsBySeed(options.seed),
    draws: drawsFrom(
      generators.cpu,
      generators.dropout,
      device,
      timestepBias(options, models.noiseSchedule.alphasCumprod.length),
    ),
    generators,
    trainer,
    files,
    scaler: options.mixedPrecision === "fp16" ? new LossScaler(state?.scaler ?? undefined) : null,
    updatesPerEpoch,
    totalSteps: options.maxTrainSteps ?? options.numTrainEpochs * updatesPerEpoch,
    shards,
    validation,
    validates,
    profile:
      options.profile !== undefined && group.isMain
        ? recordProfile(options.outputDir, options.profile, (resumed?.step ?? 0) + 1)
        : noProfile,
  };
}

function savedSeed(state: TrainingState | undefined): bigint | undefined {
  return state && BigInt(String(state.options.seed));
}

/** The checkpoint's folders of trained models; diffusers' script does not train the text encoder. */
function trainedParts({ folder, state }: Resumption, { trainTextEncoder }: TrainOptions) {
  const unet = join(folder, "unet");
  if (!state || !trainTextEncoder) return { unet };
  return { unet, textEncoder: join(folder, "text_encoder"), textEncoder2: join(folder, "text_encoder_2") };
}

async function checkResumed(
  folder: string,
  state: TrainingState,
  options: TrainOptions,
  isDealtAnew: boolean,
  tell: (event: TrainEvent) => void,
): Promise<void> {
  const changed = compareOptions(state.options, recordOptions({ ...options }, trainOptions), trainOptions).filter(
    ({ name }) => !(isDealtAnew && ["train_batch_size", "gradient_accumulation_steps"].includes(name)),
  );
  if (isDealtAnew)
    tell({
      type: "warning",
      message: `${folder} was made by another number of processes: steps have the same rows, new processes draw other numbers`,
    });
  if (!options.allowChangedOptions) assertSameOptions(changed, folder);
  for (const { name, saved, now } of changed)
    tell({ type: "warning", message: `${camelCase(name)} was ${saved} and is ${now}: the results will differ` });
  const { libtorch, cpuCapability, cpuKernels } = native().systemInfo();
  const made: Record<string, string> = { ...state.versions, threads: String(state.threads) };
  const threads = String(await native().getThreads());
  for (const [name, now] of Object.entries({ libtorch, cpuCapability, cpuKernels, threads })) {
    const before = made[name];
    if (before !== undefined && before !== now)
      tell({
        type: "warning",
        message: `the checkpoint was made with ${name} ${before}, this is ${now}: rounding may differ`,
      });
  }
}

/** The order of the rows continues, so the rows have to be the same. */
function checkDataset(folder: string, state: TrainingState, dataset: EditDataset, options: TrainOptions): void {
  const saved = (state.order as { dataset?: unknown } | null)?.dataset;
  if (saved === dataset.fingerprint || options.allowChangedOptions) return;
  throw new InstructPix2PixError(
    "ERR_CHECKPOINT",
    `${folder}: was made with another data set, or its rows have changed; with allowChangedOptions it resumes anyway`,
  );
}

function checkUNet({ unet }: EditModels): void {
  const { dropout } = unet.config;
  if (dropout !== undefined && dropout !== null && dropout !== 0)
    throw new InstructPix2PixError("ERR_CONFIG", `the UNet's "dropout" is ${dropout}; training supports only 0`);
}

/** An odd constant far from every small seed: 2⁶⁴ divided by the golden ratio. */
const SEED_DISTANCE = 0x9e3779b97f4a7c15n;

/**
 * The reference seeds both generators alike, and on every process; here they are independent. After a checkpoint of diffusers, whose
 * generator states are not readable, or of fewer processes, they must not repeat the draws of earlier steps.
 */
function generatorsOf(
  { seed, compat, seedPerProcess }: TrainOptions & { seed: bigint },
  resumed: Resumption | undefined,
  { rank }: ProcessGroup,
): Record<"cpu" | "dropout", Generator> {
  const unknown = resumed && (!resumed.state || rank >= processesOf(resumed.state));
  const first = unknown ? (seed ^ (BigInt(resumed.step) * SEED_DISTANCE)) % 2n ** 64n : seed;
  if (compat) return { cpu: new Generator("cpu", first), dropout: new Generator("cpu", first) };
  const seedAt = (place: number) => (first + BigInt(place) * SEED_DISTANCE) % 2n ** 64n;
  const place = seedPerProcess ? 2 * rank : 0;
  return { cpu: new Generator("cpu", seedAt(place)), dropout: new Generator("cpu", seedAt(place + 1)) };
}

function autocastType(mixedPrecision: "bf16" | "fp16"): "bfloat16" | "float16" {
  return mixedPrecision === "bf16" ? "bfloat16" : "float16";
}

/** The permutations of the epochs. With `compat` the reference's, which several processes draw in another way than one. */
async function permutationsOf(
  { compat, seed }: TrainOptions & { seed: bigint },
  dataset: EditDataset,
  generator: Generator,
  { size }: ProcessGroup,
): Promise<PermutationSource> {
  if (compat !== "diffusers") {
    const { group } = dataset;
    return group ? groupedPermutations(seed, group) : seededPermutations(seed);
  }
  return size === 1 ? drawnPermutations(generator) : sharedPermutations(generator);
}

async function orderOf(
  options: TrainOptions,
  { dataset, buckets }: Pick<PreparedRun, "dataset" | "buckets">,
  source: PermutationSource,
  { rank, size: worldSize }: ProcessGroup,
  resumed: Resumption | undefined,
): Promise<Pick<PreparedRun, "order" | "updatesPerEpoch">> {
  const { length } = dataset;
  const place = { length, batchSize: options.trainBatchSize, rank, worldSize, source, buckets: buckets?.of };
  const first = new EpochOrder(place);
  const updatesPerEpoch = Math.ceil(first.batchesPerEpoch / options.gradientAccumulationSteps);
  const epoch = Math.floor((resumed?.step ?? 0) / updatesPerEpoch);
  const from = async () => {
    if (!resumed) return first;
    // The reference restarts the epoch and skips its finished part, with the generator's saved state. It has no buckets, so
    // that its batches have no place among theirs.
    if (options.compat === "diffusers" || (!resumed.state && buckets)) return new EpochOrder({ ...place, epoch });
    if (resumed.state) return EpochOrder.fromJSON(resumed.state.order, place);
    return EpochOrder.fromJSON(await placeInEpoch(resumed.step % updatesPerEpoch), place);
  };
  return { order: await from(), updatesPerEpoch };

  async function placeInEpoch(updates: number): Promise<EpochOrderState> {
    const permutationSeed = String(await source.seedOf(epoch));
    const cursor = updates * options.gradientAccumulationSteps * options.trainBatchSize * worldSize;
    return { epoch, cursor, permutationSeed, length };
  }
}

/** Reads the rows of a run's data set. */
export function loaderOf(
  { dataset, buckets, options }: Pick<PreparedRun, "dataset" | "buckets" | "options">,
  onEvent: (event: TrainEvent) => void,
  signal: AbortSignal | undefined,
): Loader {
  return createLoader(dataset, {
    resolution: options.resolution,
    sizeOf: buckets && ((row) => buckets.sizes[buckets.of[row]!]!),
    workers: options.dataloaderNumWorkers,
    strict: options.strict,
    emptyPrompts: options.compat ? "keep" : "skip",
    signal,
    onSkip: ({ reason }) => onEvent({ type: "warning", message: `row skipped: ${reason}` }),
  });
}

/** All processes have the same weights, so one of them keeps the averages. */
function tracesOf({ postHocEma }: TrainOptions, { isMain }: ProcessGroup): number {
  return postHocEma && isMain ? KEPT_WIDTHS.length : 0;
}
