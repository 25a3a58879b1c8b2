import { join } from "node:path";
import { BASE_MODEL } from "../components/model-index.js";
import { InstructPix2PixError, isInstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { type AsyncScope, withAsyncScope } from "../core/scope.js";
import type { Loader } from "../data/index.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { readTokenFile } from "../hub/token-file.js";
import { native } from "../runtime/native.js";
import { noTrackers, type RunTrackers } from "../tracking/trackers.js";
import { openBucketedLatents } from "./bucketed-latents.js";
import type { Callbacks } from "./callbacks.js";
import { checkForRecipe, checkTogether } from "./check.js";
import { checkRun } from "./check-run.js";
import { baseModel, checkpointIndex } from "./checkpoint-index.js";
import { drawSaveLikeReference } from "./compat/reference-draws.js";
import { encodeAsLoaded, readFromCache } from "./encoded-data.js";
import type { StepRecord, TrainEvent, TrainResult } from "./events.js";
import { type BucketRows, type CachedLatents, LatentCache } from "./latent-cache.js";
import { learningRateOf } from "./learning-rate.js";
import { runLoop } from "./loop.js";
import { modelCard } from "./model-card.js";
import type { TrainOptions } from "./options.js";
import { messageOf, outcomeOf } from "./outcome.js";
import { withOutputFolder } from "./output-folder.js";
import { saveAverages } from "./post-hoc-ema/snapshots.js";
import { loaderOf, type PreparedRun, prepareRun } from "./prepare.js";
import { withProcessGroup } from "./process-group.js";
import { generatorsAsText } from "./processes.js";
import { Publication } from "./publish.js";
import { BatchEncoder } from "./recipes/edit/encoder.js";
import type { TextRows } from "./recipes/edit/micro-batch.js";
import { savePipeline } from "./recipes/edit/save-model.js";
import { type ValidationInput, validate } from "./recipes/edit/validate.js";
import type { Recipe } from "./recipes/recipe.js";
import { recipeFor } from "./recipes/registry.js";
import { beginRun, recordModel } from "./run-record.js";
import { type Snapshot, saveCheckpoint, takeSnapshot, type WholeState, withTensors } from "./snapshot.js";
import { openTrackers, trackedValues } from "./trackers.js";

/** Asks a run to end after the current step. */
export interface StopRequest {
  readonly requested: boolean;
}

/**
 * Runs a training from start to saved model.
 *
 * If the run ends early, also by an error of a callback, a checkpoint is saved first, unless the weights are in a state
 * that cannot be resumed from.
 */
export async function runSession(
  given: TrainOptions,
  callbacks: Callbacks,
  signal: AbortSignal | undefined,
  stop: StopRequest = { requested: false },
): Promise<TrainResult> {
  native(); // a missing libtorch is reported before anything else
  checkTogether(given);
  try {
    const options = await withHubToken(given);
    const recipe = await recipeFor(options, signal);
    checkForRecipe(options, recipe);
    await recipe.check(options);
    const result = await withProcessGroup(options, signal, (group) =>
      withAsyncScope(async (scope) => {
        // An invalid token is detected before training.
        const publication = group.isMain ? await Publication.open(options, signal) : undefined;
        scope.defer(() => publication?.close());
        const run = () =>
          withAsyncScope((inner) => runPrepared(options, recipe, group, callbacks, publication, inner, signal, stop));
        return group.isMain ? withOutputFolder(options.outputDir, { leavesNothing: options.check }, run) : run();
      }),
    );
    callbacks.throwIfFailed();
    return result;
  } finally {
    callbacks.end();
  }
}

/** Reads the access token's file into the options. */
async function withHubToken(options: TrainOptions): Promise<TrainOptions> {
  const { hubToken, hubTokenFile } = options;
  if (hubTokenFile === undefined) return options;
  if (hubToken !== undefined)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "hubToken and hubTokenFile exclude one another");
  return { ...options, hubToken: await readTokenFile(hubTokenFile, "hubTokenFile") };
}

async function runPrepared(
  given: TrainOptions,
  recipe: Recipe,
  group: ProcessGroup,
  callbacks: Callbacks,
  publication: Publication | undefined,
  scope: AsyncScope,
  signal: AbortSignal | undefined,
  stop: StopRequest,
): Promise<TrainResult> {
  const run = await prepareRun(given, recipe, group, (event) => callbacks.tell(event), scope, signal);
  if (given.check) return await checkRun(run, callbacks, signal);
  const onEvent = (event: TrainEvent) => callbacks.event(event);
  await publication?.prepare(signal);
  // Not earlier, so that a run that fails to start leaves the folder unchanged.
  if (group.isMain) await beginRun(given.outputDir, run, (message) => callbacks.tell({ type: "warning", message }));
  const trackers = group.isMain ? await openTrackers(run.options, run.resumed, onEvent) : noTrackers;
  let succeeded = false;
  // After an abort the user waits for the process to end.
  scope.defer(() => trackers.finish({ succeeded, ...(signal?.aborted && { timeoutMs: 5000 }) }));
  const session = new Session(run, trackers, callbacks, signal, stop);
  try {
    const result = await session.run();
    await publication?.publish(result.outputDir, { title: `Train for ${result.step} steps`, onEvent, signal });
    callbacks.throwIfFailed();
    succeeded = true;
    return result;
  } catch (error) {
    await group.fail(error);
    await session.saveLast(error);
    throw error;
  }
}

class Session {
  readonly #run: PreparedRun;
  readonly #trackers: RunTrackers;
  readonly #callbacks: Callbacks;
  readonly #signal: AbortSignal | undefined;
  readonly #stop: StopRequest;
  /** The snapshot of the current weights; undefined while they change. */
  #last: Snapshot | undefined;
  #lastLoss: number | undefined;
  /** The last step with a checkpoint, or with a failed attempt at one. */
  #savedStep: number;
  #validatedStep: number | undefined;
  /** The last step with averages for `ip2p ema`. */
  #averagedStep: number | undefined;

  constructor(
    run: PreparedRun,
    trackers: RunTrackers,
    callbacks: Callbacks,
    signal: AbortSignal | undefined,
    stop: StopRequest,
  ) {
    this.#run = run;
    this.#trackers = trackers;
    this.#callbacks = callbacks;
    this.#signal = signal;
    this.#stop = stop;
    this.#savedStep = run.resumed?.step ?? 0;
  }

  run(): Promise<TrainResult> {
    return withAsyncScope((scope) => {
      scope.defer(() => this.#run.profile.finish());
      return this.#train(scope);
    });
  }

  async #train(scope: AsyncScope): Promise<TrainResult> {
    const { options, models, dataset, order, flips, totalSteps, updatesPerEpoch, device, resumed, rules, group } =
      this.#run;
    const signal = this.#signal;
    const onEvent = (event: TrainEvent) => this.#callbacks.event(event);
    const loader = loaderOf(this.#run, onEvent, signal);
    const encoder = new BatchEncoder(models, {
      separately: options.compat === "diffusers",
      samplesOriginals: rules.samplesOriginals,
    });
    // First, whether or not there is a cache already: a text encoder's first call decides how its weights are packed, and with it
    // the last bits of all that it encodes.
    const nullText = await models.nullText(signal);
    scope.defer(() => disposeText(nullText));
    const cache = options.cacheLatents ? await this.#openCache(loader, encoder) : undefined;
    const data = cache
      ? readFromCache(order, flips, cache)
      : encodeAsLoaded(order, flips, loader, encoder, options.compat === "diffusers");
    scope.defer(() => data.close());
    if (cache) await models.release();
    const step = resumed?.step ?? 0;
    if (resumed) onEvent({ type: "resumed", checkpoint: resumed.folder, step });
    onEvent({
      type: "started",
      totalSteps,
      step,
      epochs: Math.ceil(totalSteps / updatesPerEpoch),
      rows: dataset.length,
      seed: options.seed,
      device,
    });
    this.#callbacks.throwIfFailed();
    const { progress, stopped } = await runLoop(
      this.#run,
      data,
      learningRateOf(this.#run),
      nullText,
      {
        beforeUpdate: () => {
          this.#last = undefined;
        },
        onStep: (record, snapshot) => this.#onStep(record, snapshot),
        onMicroStep: (step, isUpdated) => this.#onMicroStep(step, isUpdated),
        onEpochEnd: (epoch, step) => this.#onEpochEnd(epoch, step),
        isStopRequested: () => this.#stop.requested,
      },
      signal,
    );
    if (stopped) await this.#saveStopped();
    await this.#saveModel(progress.step);
    if (rules.validatesPerMicroStep) this.#validatedStep = undefined;
    // The model is saved before the last validation, which may fail.
    await this.#validate(progress.step);
    // A failure of rank 0 is everybody's.
    await group.agree({ stops: false, hasSamples: false });
    return {
      outputDir: options.outputDir,
      step: progress.step,
      trainLoss: this.#lastLoss,
      seed: options.seed,
      skippedRows: data.skippedRows,
      stopped,
    };
  }

  #openCache(loader: Loader, encoder: BatchEncoder): Promise<CachedLatents> {
    const { buckets } = this.#run;
    return buckets
      ? openBucketedLatents(buckets, (bucket, before) => this.#openCacheOf(loader, encoder, bucket, before))
      : this.#openCacheOf(loader, encoder);
  }

  /** The cache of one bucket, if there are any. */
  #openCacheOf(loader: Loader, encoder: BatchEncoder, bucket?: BucketRows, rowsBefore = 0): Promise<CachedLatents> {
    const { options, dataset, models, rules } = this.#run;
    return LatentCache.open(
      join(options.cacheDir ?? options.outputDir, "latents"),
      { dataset, loader, encoder, models },
      {
        resolution: options.resolution,
        bucket,
        samplesOriginals: rules.samplesOriginals,
        batchSize: options.trainBatchSize,
        mirrored: options.randomFlip,
        emptyPrompts: options.compat ? "keep" : "skip",
        strict: options.strict,
      },
      {
        onProgress: (done) => this.#callbacks.tell({ type: "caching", done: rowsBefore + done, total: dataset.length }),
        warn: (message) => this.#callbacks.tell({ type: "warning", message }),
      },
      this.#signal,
    );
  }

  async #onStep(record: StepRecord, snapshot: Snapshot): Promise<void> {
    this.#last = snapshot;
    this.#lastLoss = record.trainLoss;
    await this.#trackers.log(trackedValues(record), record.step);
    await this.#callbacks.step(record);
    // Before the checkpoint: a run that goes on from there writes this snapshot no more.
    const { postHocEmaSteps = this.#run.options.checkpointingSteps } = this.#run.options;
    if (record.step % postHocEmaSteps === 0) await this.#saveAverages(record.step);
    if (record.step % this.#run.options.checkpointingSteps === 0) await this.#saveWithMetrics(snapshot);
    this.#callbacks.throwIfFailed();
  }

  async #saveWithMetrics(snapshot: Snapshot): Promise<void> {
    // A failure to write metrics ends the run, but after the checkpoint.
    const flushed = await outcomeOf(this.#trackers.flush());
    await this.#save(snapshot);
    if (flushed.error) throw flushed.error.reason;
  }

  /** Saves a checkpoint of a run that was asked to stop. */
  async #saveStopped(): Promise<void> {
    const last = this.#last;
    if (last && last.step > this.#savedStep) await this.#saveWithMetrics(last);
    this.#callbacks.throwIfFailed();
  }

  async #save(snapshot: Snapshot, waitMs?: number): Promise<void> {
    const { options, models, files, generators, run, notBefore, group } = this.#run;
    const started = performance.now();
    // Set first, since a failed attempt would fail again right away.
    this.#savedStep = snapshot.step;
    const what = `generators of step ${snapshot.step}`;
    // Of several processes of the reference only rank 0 saves.
    if (options.compat && options.useEma && group.isMain) {
      await drawSaveLikeReference(models.unet, generators.cpu!);
      snapshot = await takeSnapshot(snapshot, generators);
    }
    const texts = await group.gather(what, generatorsAsText(snapshot.generators), waitMs);
    const signal = waitMs === undefined ? group.signal : AbortSignal.timeout(waitMs);
    const state = await this.#gatherState(signal);
    if (!texts) return;
    const index = await checkpointIndex(models, files, options);
    const place = { run, notBefore, index, otherGenerators: texts.slice(1), state };
    const { path, movedAside } = await saveCheckpoint(this.#run, snapshot, options, this.#trackers.states(), place);
    const seconds = (performance.now() - started) / 1000;
    if (movedAside !== undefined)
      this.#warn(`${path} had been written by another run or program; that one is kept as ${movedAside}`);
    this.#callbacks.event({ type: "checkpoint", path, step: snapshot.step, seconds });
  }

  /** Of processes that share the optimizer's state, rank 0 gathers it; undefined elsewhere. */
  async #gatherState(signal: AbortSignal | undefined): Promise<WholeState | undefined> {
    const { shards, options, group } = this.#run;
    if (!shards) return undefined;
    const gather = (which: "optimizer" | "ema") => shards.gather(which, signal);
    return group.exchange(async () => {
      const optimizer = await gather("optimizer");
      const ema = options.useEma ? await gather("ema") : undefined;
      return optimizer && { optimizer: async () => optimizer, ema: async () => ema! };
    });
  }

  /**
   * Saves a checkpoint for a run that ends with an error. A failure causes a warning, but is thrown if the run was only
   * aborted.
   */
  async saveLast(error: unknown): Promise<void> {
    // A run with non-finite values is resumed from an earlier checkpoint.
    if (isInstructPix2PixError(error, "ERR_NOT_FINITE")) return;
    const last = this.#last;
    if (!last || last.step <= this.#savedStep || !this.#run.group.isWhole) return;
    await outcomeOf(this.#trackers.flush());
    const saved = await outcomeOf(this.#save(last, LAST_WAIT_MS));
    if (!saved.error) return;
    if (isInstructPix2PixError(error, "ERR_ABORTED")) throw saved.error.reason;
    this.#warn(`a checkpoint of step ${last.step} could not be saved: ${messageOf(saved.error.reason)}`);
  }

  async #onMicroStep(step: number, isUpdated: boolean): Promise<void> {
    const { recipe, options, rules } = this.#run;
    const interval = recipe.validationInterval(options);
    if (!("steps" in interval) || step % interval.steps !== 0) return;
    if (rules.validatesPerMicroStep) {
      this.#validatedStep = undefined;
      await this.#validate(step);
    } else if (isUpdated) await this.#validate(step);
  }

  async #onEpochEnd(epoch: number, step: number): Promise<void> {
    const { recipe, options } = this.#run;
    const interval = recipe.validationInterval(options);
    if ("epochs" in interval && epoch % interval.epochs === 0) await this.#validate(step);
  }

  /** Edits the validation image. A failure only causes a warning. */
  async #validate(step: number): Promise<void> {
    const { options, trainer, validation, validates, shards, group } = this.#run;
    if (!validates || this.#validatedStep === step) return;
    this.#validatedStep = step;
    // Errors are caught inside, so that only the exchange of weights can throw, after which the weights may be wrong.
    const edit = async () => validation && outcomeOf(this.#edits(validation, step));
    const edited = !options.useEma
      ? await edit()
      : shards
        ? await group.exchange(() => shards.withEma(group.signal, edit))
        : await (validation && trainer.withEma(edit));
    if (!validation || !edited) return;
    const { value, error } = edited;
    if (error) {
      throwIfAborted(this.#signal);
      this.#warn(`validation after step ${step} failed: ${messageOf(error.reason)}; training goes on`);
    } else {
      const images = value.images.map((image) => ({ image, caption: validation.prompt }));
      await this.#trackers.images("validation", images, step);
      this.#callbacks.event({ type: "validation", step, files: value.files });
    }
    this.#callbacks.throwIfFailed();
  }

  async #edits(input: ValidationInput, step: number) {
    const { options, models, generators } = this.#run;
    const { numValidationImages: count, seed, outputDir } = options;
    const noise = options.compat && { generator: generators.dropout };
    try {
      return await validate(models, { ...input, count, seed, ...noise }, { outputDir, step }, this.#signal);
    } finally {
      if (options.cacheLatents) await models.release();
    }
  }

  #warn(message: string): void {
    this.#callbacks.event({ type: "warning", message });
  }

  /** Of which `ip2p ema` makes others. */
  async #saveAverages(step: number): Promise<void> {
    const { options, trainer, files, run, group } = this.#run;
    if (!options.postHocEma || !group.isMain || this.#averagedStep === step) return;
    await saveAverages(options.outputDir, run, step, { trainer, files });
    this.#averagedStep = step;
  }

  async #saveModel(step: number): Promise<void> {
    await this.#saveAverages(step);
    const { options, recipe, models, trainer, files, shards, group } = this.#run;
    const { outputDir } = options;
    const average = options.useEma ? await group.exchange(async () => shards?.gather("ema", group.signal)) : undefined;
    if (!group.isMain) return;
    const card = modelCard(options, recipe, step, options.seed, models.extended);
    await withTensors(average ?? (await (options.useEma ? trainer.emaState() : trainer.weights())), async (tensors) => {
      const more = options.lora ? { [BASE_MODEL]: await baseModel(files, "", options) } : {};
      await savePipeline(outputDir, { ...(await files.result(tensors)), more }, card);
    });
    const recorded = await outcomeOf(recordModel(outputDir, this.#run.run, step));
    if (recorded.error) this.#warn(messageOf(recorded.error.reason));
    this.#callbacks.event({ type: "saved", path: outputDir });
    this.#callbacks.throwIfFailed();
  }
}

/** How long rank 0 waits for what the others hold, when a run ends with an error. */
const LAST_WAIT_MS = 10_000;

function disposeText(text: TextRows): void {
  for (const tensor of Object.values(text)) tensor.dispose();
}
