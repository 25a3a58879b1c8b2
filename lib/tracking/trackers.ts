import { resolve } from "node:path";
import { InstructPix2PixError, isError } from "../core/errors.js";
import type { Environment } from "../runtime/platform.js";
import { MetricsFile } from "./metrics-file.js";
import type { Secrets } from "./secrets.js";
import { TensorBoardTracker } from "./tensorboard/tensorboard-tracker.js";
import type { Outcome, TrackedConfig, TrackedImage, TrackedValues, Tracker } from "./tracker.js";
import type { SenderTiming } from "./wandb/sender.js";
import { canUseWandb, wandbKey } from "./wandb/settings.js";
import { WandbTracker } from "./wandb/wandb-tracker.js";

/** The values of `--report_to`. */
export const REPORT_TO = ["tensorboard", "wandb", "all", "none"] as const;

/** Trackers of diffusers' scripts that are not supported. */
const UNSUPPORTED = ["comet_ml", "aim", "mlflow", "clearml", "dvclive", "swanlab", "trackio"];

/** The trackers' state for resuming, by name; stored in checkpoints. */
export type TrackerStates = Record<string, Record<string, string>>;

export interface TrackersOptions {
  outputDir: string;
  /** Of `--logging_dir`: relative to the output folder, or absolute. Default `logs`. */
  loggingDir?: string;
  /** Name of the project, and of the run's folder among the logs. Default `instruct-pix2pix`. */
  project?: string;
  /** Secrets that must not be written or sent. */
  secrets: Secrets;
  /** The checkpoint that the run resumes from: its step, and the result of {@link Trackers.states} when it was written. */
  resume?: { step: number; states: Readonly<Record<string, unknown>> };
  /** Receives failures that do not stop the run, once each. */
  warn: (message: string) => void;
  /** Receives the run's address. */
  inform?: (message: string) => void;
  /** Default `process.env`. */
  env?: Environment;
  /** For tests. */
  timing?: Partial<SenderTiming>;
}

/**
 * The trackers of a run: `metrics.jsonl` always, others as `--report_to` says. `all` means all usable ones: W&B only
 * with a key or in offline mode.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a tracker that is not supported, by name
 */
export async function createTrackers(reportTo: string, options: TrackersOptions): Promise<Trackers> {
  const { outputDir, loggingDir = "logs", project = "instruct-pix2pix", secrets, resume, warn } = options;
  const { inform = () => {}, env = process.env, timing } = options;
  const wanted = wantedTrackers(reportTo);
  const resumeStep = resume?.step ?? 0;
  const optional: Tracker[] = [];
  if (wanted.includes("tensorboard"))
    optional.push(new TensorBoardTracker({ outputDir, loggingDir, project, resumeStep }));
  if (wanted.includes("wandb")) {
    if (reportTo !== "all" || (await canUseWandb(env))) {
      // Before anything is written, so that no tracker records the key.
      secrets.add(await wandbKey(env));
      const saved = savedState(resume?.states.wandb);
      const folder = resolve(outputDir, loggingDir);
      optional.push(new WandbTracker({ project, folder, saved, secrets, warn, inform, env, timing }));
    } else inform("W&B: not used, since no key is set");
  }
  return new Trackers(new MetricsFile(outputDir, resumeStep), optional, secrets, warn);
}

/** What a run tells its trackers. */
export type RunTrackers = Pick<Trackers, "log" | "images" | "flush" | "states" | "finish">;

/** Of a process whose steps another one tracks. */
export const noTrackers: RunTrackers = {
  log: async () => {},
  images: async () => {},
  flush: async () => {},
  states: () => ({}),
  finish: async () => {},
};

/**
 * All trackers of a run as one. Redacts secrets before passing values on.
 *
 * Calls fail if `metrics.jsonl` cannot be written. Other trackers never stop a running run: their errors are reported
 * once each, and counted.
 */
export class Trackers {
  readonly #metrics: MetricsFile;
  readonly #optional: readonly Tracker[];
  readonly #secrets: Secrets;
  readonly #warn: (message: string) => void;
  readonly #failures = new Map<Tracker, number>();

  constructor(metrics: MetricsFile, optional: readonly Tracker[], secrets: Secrets, warn: (message: string) => void) {
    this.#metrics = metrics;
    this.#optional = optional;
    this.#secrets = secrets;
    this.#warn = warn;
  }

  /**
   * @param config the run's options; secrets are removed here
   * @throws `ERR_IO` if logs cannot be written, `ERR_CONFIG` if a tracker's settings are wrong; opened trackers are
   * closed again
   */
  async init(config: TrackedConfig): Promise<void> {
    const clean = this.#secrets.filterConfig(config);
    const started: Tracker[] = [];
    try {
      for (const tracker of [this.#metrics, ...this.#optional]) {
        started.push(tracker);
        await tracker.init(clean);
      }
    } catch (error) {
      for (const tracker of started) await tracker.finish({ succeeded: false, timeoutMs: 0 }).catch(() => {});
      throw error;
    }
  }

  /**
   * @param step optimizer steps done, above that of the call before
   * @throws `ERR_IO` if `metrics.jsonl` cannot be written
   */
  async log(values: TrackedValues, step: number): Promise<void> {
    const clean = this.#secrets.redactValues(values);
    await this.#metrics.log(clean, step);
    await this.#each((tracker) => tracker.log(clean, step));
  }

  async images(name: string, images: readonly TrackedImage[], step: number): Promise<void> {
    const clean = images.map(({ image, caption }) =>
      caption === undefined ? { image } : { image, caption: this.#secrets.redact(caption) },
    );
    await this.#each((tracker) => tracker.images(this.#secrets.redact(name), clean, step));
  }

  /** Called before a checkpoint, so that everything logged up to it is on the disk. @throws `ERR_IO` */
  async flush(): Promise<void> {
    await this.#metrics.flush();
    await this.#each((tracker) => tracker.flush());
  }

  /** For the checkpoint. */
  states(): TrackerStates {
    const states = this.#optional.map((tracker) => [tracker.name, tracker.state()] as const);
    return Object.fromEntries(states.filter(([, state]) => state !== undefined)) as TrackerStates;
  }

  /** @throws `ERR_IO` if `metrics.jsonl` cannot be written */
  async finish(outcome: Outcome): Promise<void> {
    try {
      await this.#metrics.finish();
    } finally {
      await Promise.all(this.#optional.map((tracker) => this.#try(tracker, () => tracker.finish(outcome))));
      for (const [{ name }, count] of this.#failures)
        if (count > 1) this.#warn(`${name}: ${count} calls failed in all`);
    }
  }

  async #each(call: (tracker: Tracker) => Promise<void>): Promise<void> {
    for (const tracker of this.#optional) await this.#try(tracker, () => call(tracker));
  }

  async #try(tracker: Tracker, call: () => Promise<void>): Promise<void> {
    try {
      await call();
    } catch (error) {
      const count = (this.#failures.get(tracker) ?? 0) + 1;
      this.#failures.set(tracker, count);
      const message = isError(error) ? error.message : String(error);
      if (count === 1) this.#warn(this.#secrets.redact(`${tracker.name}: ${message}; the run goes on`));
    }
  }
}

function wantedTrackers(reportTo: string): readonly ("tensorboard" | "wandb")[] {
  switch (reportTo) {
    case "all":
      return ["tensorboard", "wandb"];
    case "none":
      return [];
    case "tensorboard":
    case "wandb":
      return [reportTo];
    default:
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `report_to: ${UNSUPPORTED.includes(reportTo) ? `${reportTo} is not supported` : `unknown tracker "${reportTo}"`}; it can be ${REPORT_TO.join(", ")}`,
      );
  }
}

/** A tracker's part of a checkpoint, if valid. */
function savedState(state: unknown): Record<string, string> | undefined {
  if (typeof state !== "object" || state === null) return undefined;
  const texts = Object.entries(state).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return texts.length > 0 ? Object.fromEntries(texts) : undefined;
}
