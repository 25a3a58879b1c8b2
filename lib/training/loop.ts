import { peakDeviceMemory } from "../core/cuda.js";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import type { EpochOrderState } from "../data/permutation.js";
import { dropoutOf } from "./dropout.js";
import { emaDecay } from "./ema.js";
import type { EncodedData, TrainingBatch } from "./encoded-data.js";
import type { StepRecord } from "./events.js";
import type { LearningRate } from "./learning-rate.js";
import { exponentOf, KEPT_WIDTHS, powerDecay } from "./post-hoc-ema/power-function.js";
import type { PreparedRun } from "./prepare.js";
import {
  disposeMicroBatch,
  type MicroBatchSettings,
  prepareMicroBatch,
  type TextRows,
} from "./recipes/edit/micro-batch.js";
import { type Progress, type Snapshot, takeSnapshot } from "./snapshot.js";
import type { ReleasedStep } from "./trainer.js";

const KEPT_GAMMAS = KEPT_WIDTHS.map(exponentOf);

/** Hooks of the training loop. */
export interface LoopHooks {
  /** Called before weights change: from then until `onStep` they match no snapshot. */
  beforeUpdate(): void;
  /** Called after every optimizer step, with a snapshot to resume from. */
  onStep(record: StepRecord, snapshot: Snapshot): Promise<void>;
  /** Called after each micro-step, and after the optimizer step that it ends, if it does. */
  onMicroStep(step: number, isUpdated: boolean): Promise<void>;
  /** Called after each epoch but the last. */
  onEpochEnd(epoch: number, step: number): Promise<void>;
  /** Whether to end after the first step from now on. */
  isStopRequested(): boolean;
}

/** How the loop ended. */
export interface LoopEnd {
  progress: Progress;
  /** Whether it ended early, as it was asked to. */
  stopped: boolean;
}

/**
 * The training loop of InstructPix2Pix (Brooks et al. 2023, https://arxiv.org/abs/2211.09800, section 3.2): noise the
 * edited image's latents, predict the noise from them, the original's latents and the instruction, and step.
 *
 * It ends after `maxTrainSteps` steps, or without that number after `numTrainEpochs` epochs, or once it is asked to stop.
 *
 * @throws `ERR_NOT_FINITE` naming the step whose loss or gradients are not finite, with the weights of the step before;
 *  `ERR_DATASET` if a whole epoch has no usable row
 */
export async function runLoop(
  run: PreparedRun,
  data: EncodedData,
  learningRate: LearningRate,
  nullText: TextRows,
  hooks: LoopHooks,
  signal: AbortSignal | undefined,
): Promise<LoopEnd> {
  const { options, trainer, scaler, models, totalSteps, group, profile } = run;
  const accumulation = options.gradientAccumulationSteps;
  const settings: MicroBatchSettings = {
    scheduler: models.noiseSchedule,
    predictionType: models.predictionType,
    scalingFactor: models.autoencoder.config.scaling_factor,
    dtype: models.dtype,
    dropout: dropoutOf(options),
    loss: options,
    noiseOffset: options.noiseOffset,
    inputPerturbation: options.inputPerturbation,
    nullText,
    conditions: (text, [, , h, w]) => {
      const { scaleFactor } = models.autoencoder;
      return models.conditions(text, run.buckets && { width: w! * scaleFactor, height: h! * scaleFactor });
    },
  };
  const progress: Progress = {
    step: run.resumed?.step ?? 0,
    lrStep: learningRate.state.step,
    order: placed(run.order.toJSON()),
    scaler: scaler?.toJSON() ?? null,
  };
  function placed(order: EpochOrderState): Progress["order"] {
    return { ...order, dataset: run.dataset.fingerprint, ...(group.size > 1 && { processes: group.size }) };
  }
  let skip = microStepsToPassOver(run, progress.step);
  let window = newWindow();

  // Accumulation windows without a usable row make no step, so `maxTrainSteps` may take more epochs than planned;
  // `numTrainEpochs` is not extended.
  const epochs = options.maxTrainSteps === undefined ? options.numTrainEpochs : Number.POSITIVE_INFINITY;
  const isDone = () => progress.step >= totalSteps || progress.order.epoch >= epochs;
  const first = progress.step;
  let stops = false;
  // Of several processes, also when another one is lost.
  const interrupts = group.signal && signal ? AbortSignal.any([signal, group.signal]) : (group.signal ?? signal);
  const isStopped = () => (group.size > 1 ? stops : hooks.isStopRequested()) && progress.step > first;
  while (!isDone() && !isStopped()) {
    let epoch = progress.order.epoch;
    const stepBefore = progress.step;
    let batches = 0;
    window = newWindow();
    for await (const batch of data.epoch(signal)) {
      throwIfAborted(signal);
      epoch = batch.epoch;
      if (skip > 0) {
        skip -= 1;
        window = newWindow();
        continue;
      }
      batches += 1;
      window.dataSeconds += batch.waitSeconds;
      const isLast = window.microSteps + 1 === accumulation || batch.last;
      await microStep(batch, isLast);
      if (!isLast) {
        await hooks.onMicroStep(progress.step, false);
        continue;
      }
      progress.order = placed(batch.next);
      // An accumulation window without a usable row makes no step.
      const isUpdated = window.isReduced || window.samples > 0;
      if (isUpdated) await optimizerStep(epoch);
      await hooks.onMicroStep(progress.step, isUpdated);
      window = newWindow();
      if (progress.step >= totalSteps || isStopped()) break;
    }
    if (progress.step === stepBefore && batches === run.order.batchesPerEpoch)
      throw new InstructPix2PixError(
        "ERR_DATASET",
        `epoch ${epoch} made no step: none of the ${run.dataset.length} rows can be used`,
      );
    if (!isDone() && !isStopped()) await hooks.onEpochEnd(epoch, progress.step);
  }
  return { progress, stopped: !isDone() };

  /**
   * A micro-step: forward and backward pass over one batch. In the last one before the optimizer's step the gradients of
   * all processes are averaged, after all have agreed to: from then on no process leaves the others.
   */
  async function microStep(batch: TrainingBatch, isLast: boolean): Promise<void> {
    window.microSteps += 1;
    const encoded = await profile.span("encode images and text", () => group.exchange(() => batch.encode(interrupts)));
    const prepared =
      encoded && (await profile.span("add noise", () => prepareMicroBatch(encoded, run.draws, settings)));
    try {
      const reduces = isLast && group.size > 1 && (await agreeToReduce(prepared?.sample.shape[0] ?? 0));
      const waits = { signal: reduces ? group.signal : interrupts, reduces };
      const factor = (scaler?.scale ?? 1) / accumulation;
      if (prepared) {
        const update = options.releaseGradients ? releasedStep() : undefined;
        // A pass that updates weights is not interrupted.
        const how = update ? { update } : waits;
        const work = async () => {
          using loss = await trainer.accumulate(prepared, factor, how);
          return await loss.item();
        };
        if (update) hooks.beforeUpdate();
        const value = await profile.span("forward and backward", () => group.exchange(work));
        // Of several processes all hear of it at the end of the step.
        if (!Number.isFinite(value) && !scaler && !reduces) await notFinite("loss", batch.rows);
        window.loss += value / accumulation;
        window.losses += 1;
        window.samples += prepared.sample.shape[0]!;
      } else if (reduces) await group.exchange(() => trainer.reduce());
    } finally {
      if (prepared) disposeMicroBatch(prepared);
      if (encoded) batch.release(encoded);
    }
  }

  /** The update that a micro-step makes. */
  function releasedStep(): ReleasedStep {
    return { learningRate: learningRate.current, maxGradNorm: options.maxGradNorm, emaDecay: emaDecayOfStep() };
  }

  function emaDecayOfStep(): number | undefined {
    return options.useEma ? emaDecay(progress.step + 1) : undefined;
  }

  /** Waits for all processes. → whether any of them has samples for the step */
  async function agreeToReduce(samples: number): Promise<boolean> {
    throwIfAborted(signal);
    group.reached(progress.step + 1);
    const all = await group.agree({ stops: hooks.isStopRequested(), hasSamples: window.samples + samples > 0 });
    stops ||= all.stops;
    window.isReduced = all.hasSamples;
    return all.hasSamples;
  }

  /** An optimizer step: clips, updates weights and EMA weights, and reports. */
  async function optimizerStep(epoch: number): Promise<void> {
    await addUpWindows();
    const lr = learningRate.current;
    const decay = emaDecayOfStep();
    hooks.beforeUpdate();
    const update = (signal?: AbortSignal) => trainer.step(lr, options.maxGradNorm, scaler?.scale ?? 1, decay, signal);
    // Processes that share the optimizer's state exchange the weights.
    const { gradNorm, skipped } = await profile.span("optimizer", () =>
      run.shards ? group.exchange(() => update(group.signal)) : update(),
    );
    if (skipped && !scaler) await notFinite("gradients", []);
    scaler?.update(skipped);
    if (scaler?.isExhausted) await notFinite("gradients", []);
    progress.step += 1;
    if (options.postHocEma && group.isMain)
      await trainer.updateTraces(KEPT_GAMMAS.map((gamma) => powerDecay(progress.step, gamma)));
    if (!skipped) learningRate.advance();
    progress.lrStep = learningRate.state.step;
    progress.scaler = scaler?.toJSON() ?? null;

    const isShort = run.rules.meanOfShortWindows && window.losses < accumulation;
    const deviceMemory = await peakDeviceMemory(run.device);
    const seconds = (performance.now() - window.started) / 1000;
    const record: StepRecord = {
      step: progress.step,
      trainLoss: isShort ? (window.loss * accumulation) / window.losses : window.loss,
      lr,
      gradNorm,
      seconds,
      dataSeconds: window.dataSeconds,
      samplesPerSecond: window.samples / seconds,
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
      ...(deviceMemory !== undefined && { peakDeviceMemoryBytes: deviceMemory }),
      epoch,
      skipped,
    };
    await profile.span("after the step", async () =>
      hooks.onStep(record, await takeSnapshot({ ...progress }, run.generators)),
    );
    await profile.stepEnds(progress.step);
  }

  /** The sums of the window over all processes, and the mean of their losses. */
  async function addUpWindows(): Promise<void> {
    if (group.size === 1) return;
    const [loss, losses, samples] = await group.sum([window.loss, window.losses, window.samples]);
    Object.assign(window, { loss: loss! / group.size, losses: losses! / group.size, samples });
    if (!Number.isFinite(window.loss) && !scaler) await notFinite("loss", []);
  }

  async function notFinite(what: string, rows: readonly number[]): Promise<never> {
    await trainer.forgetGradients();
    const mixed = options.releaseGradients && what === "gradients" ? ", and partly those after it" : "";
    const where = rows.length > 0 ? ` (rows ${rows.join(", ")} of the data set)` : "";
    throw new InstructPix2PixError(
      "ERR_NOT_FINITE",
      `step ${progress.step + 1}: the ${what} ${what === "loss" ? "is" : "are"} not finite${where}; the weights are those of step ${progress.step}${mixed}`,
    );
  }
}

/** Sums over the micro-steps of one optimizer step. */
function newWindow() {
  return {
    loss: 0,
    losses: 0,
    microSteps: 0,
    samples: 0,
    dataSeconds: 0,
    isReduced: false,
    started: performance.now(),
  };
}

/**
 * The reference resumes by iterating over the finished batches of the current epoch without training on them. Without
 * `compat` the run resumes directly at its position.
 */
function microStepsToPassOver({ options, updatesPerEpoch, resumed, rules }: PreparedRun, step: number): number {
  if (!resumed || options.compat !== "diffusers" || !rules.skipsFinishedBatches) return 0;
  const accumulation = options.gradientAccumulationSteps;
  return (step * accumulation) % (updatesPerEpoch * accumulation);
}
