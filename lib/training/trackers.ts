import type { RgbImage } from "../images.js";
import { MetricsFile } from "../tracking/metrics-file.js";
import type { Tracker } from "../tracking/tracker.js";
import type { JsonValue } from "./checkpoint/json-value.js";
import type { TrainingState } from "./checkpoint/state.js";
import type { StepRecord } from "./events.js";
import type { TrainOptions } from "./options.js";

/** Where a run's progress is recorded. */
export interface RunTrackers {
  logStep(record: StepRecord): Promise<void>;
  logImages(images: readonly RgbImage[], caption: string, step: number): Promise<void>;
  flush(): Promise<void>;
  state(): Record<string, JsonValue>;
  finish(succeeded: boolean): Promise<void>;
}

export async function openTrackers(options: TrainOptions, saved: TrainingState | undefined): Promise<RunTrackers> {
  const trackers: Tracker[] = [new MetricsFile(options.outputDir, saved?.globalStep ?? 0)];
  for (const tracker of trackers) await tracker.init({});
  return {
    async logStep(record) {
      for (const tracker of trackers) await tracker.log(valuesOf(record), record.step);
    },
    async logImages(images, caption, step) {
      const pictures = images.map((image) => ({ image, caption }));
      for (const tracker of trackers) await tracker.images("validation", pictures, step);
    },
    async flush() {
      for (const tracker of trackers) await tracker.flush();
    },
    state: () =>
      Object.fromEntries(trackers.flatMap((t) => (t.state() === undefined ? [] : [[t.name, t.state() as JsonValue]]))),
    async finish(succeeded) {
      for (const tracker of trackers) await tracker.finish({ succeeded });
    },
  };
}

/** As in metrics.jsonl. */
function valuesOf(record: StepRecord) {
  return {
    train_loss: record.trainLoss,
    lr: record.lr,
    grad_norm: record.gradNorm,
    seconds: record.seconds,
    data_seconds: record.dataSeconds,
    samples_per_second: record.samplesPerSecond,
    peak_memory_bytes: record.peakMemoryBytes,
    epoch: record.epoch,
    ...(record.skipped && { skipped: true }),
  };
}
