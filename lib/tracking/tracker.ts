import type { RgbImage } from "../images/rgb-image.js";

/** A run's options as trackers may see them; see `Secrets.filterConfig`. */
export type TrackedConfig = Readonly<Record<string, string | number | boolean | null>>;

/** What is logged at a step, by name. A number may be NaN or infinite. */
export type TrackedValues = Readonly<Record<string, string | number | boolean | null>>;

export interface TrackedImage {
  readonly image: RgbImage;
  readonly caption?: string;
}

/** How a run ended. */
export interface Outcome {
  /** Whether it ended as it should. */
  readonly succeeded: boolean;
  /** Milliseconds that may be spent on sending what is left; default 20000. */
  readonly timeoutMs?: number;
}

/** A place where a run's progress is recorded. Calls come one after the other, with steps that never go down. */
export interface Tracker {
  /** As in `--report_to`. */
  readonly name: string;
  /** Comes first. An error means that the run would go unrecorded because of a wrong setting, and should not start. */
  init(config: TrackedConfig): Promise<void>;
  /** At most once per step. */
  log(values: TrackedValues, step: number): Promise<void>;
  /** Pictures that belong together, under a name. */
  images(name: string, images: readonly TrackedImage[], step: number): Promise<void>;
  /** Makes sure that what was logged is on the disk, as far as it is kept there. */
  flush(): Promise<void>;
  /** What a resumed run needs to go on in the same record; undefined if nothing. */
  state(): Record<string, string> | undefined;
  /** Comes last. */
  finish(outcome: Outcome): Promise<void>;
}
