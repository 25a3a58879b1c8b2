import { Secrets } from "../tracking/secrets.js";
import { createTrackers, type Trackers } from "../tracking/trackers.js";
import { recordOptions } from "./checkpoint/options.js";
import type { StepRecord, TrainEvent } from "./events.js";
import { type TrainOptions, trainOptions } from "./options.js";
import type { Resumption } from "./resume.js";

/** Opens the trackers of a run; secret options are never passed to them. */
export async function openTrackers(
  options: TrainOptions,
  resumed: Resumption | undefined,
  tell: (event: TrainEvent) => void,
): Promise<Trackers> {
  const trackers = await createTrackers(options.reportTo, {
    outputDir: options.outputDir,
    loggingDir: options.loggingDir,
    secrets: Secrets.of({ ...options }, trainOptions),
    resume: resumed && { step: resumed.step, states: resumed.state?.trackers ?? {} },
    warn: (message) => tell({ type: "warning", message }),
    inform: (what) => tell({ type: "loading", what }),
  });
  await trackers.init(recordOptions({ ...options }, trainOptions));
  return trackers;
}

/** The logged values of a step. */
export function trackedValues(record: StepRecord) {
  return {
    train_loss: record.trainLoss,
    lr: record.lr,
    grad_norm: record.gradNorm,
    seconds: record.seconds,
    data_seconds: record.dataSeconds,
    samples_per_second: record.samplesPerSecond,
    peak_memory_bytes: record.peakMemoryBytes,
    ...(record.peakDeviceMemoryBytes !== undefined && { peak_device_memory_bytes: record.peakDeviceMemoryBytes }),
    epoch: record.epoch,
    ...(record.skipped && { skipped: true }),
  };
}
