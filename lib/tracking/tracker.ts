import type { RgbImage } from "../images/rgb-image.js";

/** A run's options without secrets; see `Secrets.filterConfig`. */
export type TrackedConfig = Readonly<Record<string, string | number | boolean | null>>;

/** The values logged at a step, by name. Numbers may be NaN or infinite. */
export type TrackedValues = Readonly<Record<string, string | number | boolean | null>>;

export interface TrackedImage {
  readonly image: RgbImage;
  readonly caption?: string;
}

/** How a run ended. */
export interface Outcome {
  /** Whether it ended successfully. */
  readonly succeeded: boolean;
  /** Milliseconds to spend on sending remaining data; default 20000. */
  readonly timeoutMs?: number;
}

/** A recorder of a run's progress. Calls are sequential, with non-decreasing steps. */
export interface Tracker {
  /** As in `--report_to`. */
  readonly name: string;
  /** Called first. An error means a wrong setting: the run should not start. */
  init(config: TrackedConfig): Promise<void>;
  /** At most once per step. */
  log(values: TrackedValues, step: number): Promise<void>;
  /** A named group of images. */
  images(name: string, images: readonly TrackedImage[], step: number): Promise<void>;
  /** Syncs logged values to the disk, if they are stored there. */
  flush(): Promise<void>;
  /** State for resuming in the same record, if any. */
  state(): Record<string, string> | undefined;
  /** Called last. */
  finish(outcome: Outcome): Promise<void>;
}
