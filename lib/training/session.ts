import { join } from "node:path";
import { createLoader, type Loader } from "../data/index.js";
import { InstructPix2PixError, isInstructPix2PixError } from "../errors.js";
import { readTokenFile } from "../hub/token-file.js";
import { native } from "../native/native.js";
import type { Trackers } from "../tracking/trackers.js";
import { disposeBaseModel } from "./base_model.js";
import { encodeAsLoaded, readFromCache } from "./encoded_data.js";
import { BatchEncoder } from "./encoder.js";
import type { StepRecord, TrainEvent, TrainResult } from "./events.js";
import { LatentCache } from "./latent_cache.js";
import { LearningRate } from "./learning_rate.js";
import { runLoop } from "./loop.js";
import { modelCard } from "./model_card.js";
import type { TrainOptions } from "./options.js";
import { type PreparedRun, prepareRun } from "./prepare.js";
import { Publication } from "./publish.js";
import { drawSaveLikeReference } from "./reference_draws.js";
import { savePipeline } from "./save_model.js";
import { type Snapshot, saveCheckpoint, takeSnapshot, withTensors } from "./snapshot.js";
import { openTrackers, trackedValues } from "./trackers.js";
import { splitByModel } from "./trainer.js";
import { validate } from "./validate.js";

export interface SessionHooks {
  onStep(record: StepRecord): Promise<void>;
  onEvent(event: TrainEvent): void;
  signal: AbortSignal | undefined;
}

/** Trains from start to saved model. */
export async function runSession(given: TrainOptions, hooks: SessionHooks): Promise<TrainResult> {
  native(); // a missing libtorch is reported before anything else
  const options = await withHubToken(given);
  // A wrong token costs seconds and not a night.
  const publication = await Publication.open(options, hooks.signal);
  try {
    return await runPrepared(options, hooks, publication);
  } finally {
    await publication?.close();
  }
}

/** With the access token that a file holds among the options, as if it had been given. */
async function withHubToken(options: TrainOptions): Promise<TrainOptions> {
  const { hubToken, hubTokenFile } = options;
  if (hubTokenFile === undefined) return options;
  if (hubToken !== undefined)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "hub_token and hub_token_file exclude one another");
  return { ...options, hubToken: await readTokenFile(hubTokenFile, "hub_token_file") };
}

async function runPrepared(
  given: TrainOptions,
  hooks: SessionHooks,
  publication: Publication | undefined,
): Promise<TrainResult> {
  const { signal, onEvent } = hooks;
  const run = await prepareRun(given, onEvent, signal);
  const open = async () => {
    await publication?.prepare(signal);
    return openTrackers(run.options, run.resumed?.state, onEvent);
  };
  const trackers = await open().catch(async (error) => {
    await disposeRun(run);
    throw error;
  });
  const session = new Session(run, trackers, hooks);
  let succeeded = false;
  try {
    const result = await session.run();
    await publication?.publish(result.outputDir, { title: `Train for ${result.step} steps`, onEvent, signal });
    succeeded = true;
    return result;
  } catch (error) {
    // Whoever stops a run wants to go on later; whatever else happened, the last checkpoint stands.
    if (isInstructPix2PixError(error, "ERR_ABORTED")) await session.saveLast();
    throw error;
  } finally {
    await disposeRun(run);
    // Whoever stopped the run waits for the process to end. What went wrong first is what the caller must hear of.
    const finished = trackers.finish({ succeeded, ...(signal?.aborted && { timeoutMs: 5000 }) });
    await (succeeded ? finished : finished.catch(() => {}));
  }
}

class Session {
  readonly #run: PreparedRun;
  readonly #trackers: Trackers;
  readonly #hooks: SessionHooks;
  #last: Snapshot | undefined;
  #lastLoss: number | undefined;
  #savedStep: number;

  constructor(run: PreparedRun, trackers: Trackers, hooks: SessionHooks) {
    this.#run = run;
    this.#trackers = trackers;
    this.#hooks = hooks;
    this.#savedStep = run.resumed?.state.globalStep ?? 0;
  }

  async run(): Promise<TrainResult> {
    const { options, base, dataset, order, flips, totalSteps, updatesPerEpoch, device, resumed } = this.#run;
    const { signal, onEvent } = this.#hooks;
    const loader = createLoader(dataset, {
      resolution: options.resolution,
      workers: options.dataloaderNumWorkers,
      strict: options.strict,
      emptyPrompts: options.compat ? "keep" : "skip",
      signal,
      onSkip: ({ reason }) => onEvent({ type: "warning", message: `row skipped: ${reason}` }),
    });
    const encoder = new BatchEncoder(base, { ...options, separately: options.compat === "diffusers" });
    const cache = options.cacheLatents ? await this.#openCache(loader, encoder) : undefined;
    const data = cache
      ? readFromCache(order, flips, cache)
      : encodeAsLoaded(order, flips, loader, encoder, options.compat === "diffusers");
    using nullText = await encoder.nullText(signal);
    const step = resumed?.state.globalStep ?? 0;
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
    try {
      const progress = await runLoop(
        this.#run,
        data,
        this.#learningRate(),
        nullText,
        { onStep: (record, snapshot) => this.#onStep(record, snapshot), onEpochEnd: (e, s) => this.#onEpochEnd(e, s) },
        signal,
      );
      await this.#saveModel(progress.step);
      return {
        outputDir: options.outputDir,
        step: progress.step,
        trainLoss: this.#lastLoss,
        seed: options.seed,
        skippedRows: data.skippedRows,
      };
    } finally {
      await data.close();
    }
  }

  #openCache(loader: Loader, encoder: BatchEncoder): Promise<LatentCache> {
    const { options, dataset, base } = this.#run;
    return LatentCache.open(
      join(options.cacheDir ?? options.outputDir, "latents"),
      { dataset, loader, encoder, base },
      {
        resolution: options.resolution,
        trainTextEncoder: options.trainTextEncoder,
        batchSize: options.trainBatchSize,
        mirrored: options.randomFlip,
      },
      (done, total) => this.#hooks.onEvent({ type: "caching", done, total }),
      this.#hooks.signal,
    );
  }

  #learningRate(): LearningRate {
    const { options, totalSteps, resumed } = this.#run;
    const scale = options.scaleLr ? options.gradientAccumulationSteps * options.trainBatchSize : 1;
    const rate = new LearningRate({
      schedule: options.lrScheduler,
      learningRate: options.learningRate * scale,
      warmupSteps: options.lrWarmupSteps,
      trainingSteps: totalSteps,
      numCycles: options.lrNumCycles,
      power: options.lrPower,
      stepRules: options.lrStepRules,
    });
    if (resumed) rate.restore(resumed.state.learningRate);
    return rate;
  }

  async #onStep(record: StepRecord, snapshot: Snapshot): Promise<void> {
    this.#last = snapshot;
    this.#lastLoss = record.trainLoss;
    await this.#trackers.log(trackedValues(record), record.step);
    await this.#hooks.onStep(record);
    if (record.step % this.#run.options.checkpointingSteps === 0) await this.#save(snapshot);
  }

  async #save(snapshot: Snapshot): Promise<void> {
    const { options, trainer, base, generators } = this.#run;
    const started = performance.now();
    if (options.compat && options.useEma) {
      await drawSaveLikeReference(base.unet, generators.cpu!);
      snapshot = await takeSnapshot(snapshot, generators);
    }
    await this.#trackers.flush();
    const path = await saveCheckpoint(trainer, snapshot, options, this.#trackers.states());
    this.#savedStep = snapshot.step;
    const seconds = (performance.now() - started) / 1000;
    this.#hooks.onEvent({ type: "checkpoint", path, step: snapshot.step, seconds });
  }

  /** Saves what was done since the last checkpoint. */
  async saveLast(): Promise<void> {
    if (this.#last && this.#last.step > this.#savedStep) await this.#save(this.#last);
  }

  async #onEpochEnd(epoch: number, step: number): Promise<void> {
    if (epoch % this.#run.options.validationEpochs === 0) await this.#validate(step);
  }

  async #validate(step: number): Promise<void> {
    const { options, base, trainer, scheduler, generators } = this.#run;
    const { valImageUrl: image, validationPrompt: prompt, outputDir } = options;
    if (image === undefined || prompt === undefined) return;
    const edit = () =>
      validate(
        base,
        {
          image,
          prompt,
          count: options.numValidationImages,
          scheduler,
          seed: options.seed,
          ...(options.compat && { generator: generators.dropout }),
        },
        { outputDir, step },
        this.#hooks.signal,
      );
    const { images, files } = options.useEma ? await trainer.withEma(edit) : await edit();
    await this.#trackers.images(
      "validation",
      images.map((picture) => ({ image: picture, caption: prompt })),
      step,
    );
    this.#hooks.onEvent({ type: "validation", step, files });
  }

  async #saveModel(step: number): Promise<void> {
    const { options, base, trainer, scheduler } = this.#run;
    const { outputDir, variant } = options;
    await withTensors(await (options.useEma ? trainer.emaState() : trainer.weights()), (tensors) =>
      savePipeline(outputDir, {
        base: base.folder,
        variant,
        unet: base.unet,
        textEncoder: trainer.textEncoder,
        weights: splitByModel(tensors),
        scheduler: scheduler.className,
        card: modelCard(options, step, options.seed),
      }),
    );
    this.#hooks.onEvent({ type: "saved", path: outputDir });
  }
}

async function disposeRun({ trainer, base, dataset }: PreparedRun): Promise<void> {
  trainer.dispose();
  disposeBaseModel(base);
  await dataset.close();
}
