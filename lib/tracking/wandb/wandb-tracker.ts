import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import type { Environment } from "../../runtime/platform.js";
import type { Secrets } from "../secrets.js";
import type { Outcome, TrackedConfig, TrackedImage, TrackedValues, Tracker } from "../tracker.js";
import { WandbError, WandbHttp } from "./http.js";
import { OfflineRun } from "./offline-run.js";
import { startRun, type WandbRun } from "./run.js";
import type { RunSink } from "./run-sink.js";
import { Sender, type SenderTiming } from "./sender.js";
import { readSettings, runUrl, type WandbSettings } from "./settings.js";

export interface WandbOptions {
  /** Unless WANDB_PROJECT names another. */
  project: string;
  /** Folder of runs in WANDB_MODE=offline, unless WANDB_DIR names another. */
  folder: string;
  /** The result of {@link WandbTracker.state} in the run to resume. */
  saved: Readonly<Record<string, string>> | undefined;
  /** Redacted from messages. */
  secrets: Secrets;
  /** Receives failures; the run continues. */
  warn: (message: string) => void;
  /** Receives the run's address. */
  inform: (message: string) => void;
  env: Environment;
  timing?: Partial<SenderTiming> | undefined;
}

const DEFAULT_FINISH_TIMEOUT = 20_000;

/**
 * A run on a Weights & Biases server, by the protocol of its own clients: the run is created by GraphQL
 * (`upsertBucket`), the history is streamed line by line (`file_stream`), images are uploaded to URLs given by the
 * server. WANDB_API_KEY or the key that `wandb login` saved, WANDB_BASE_URL, WANDB_PROJECT, WANDB_ENTITY, WANDB_NAME,
 * WANDB_RUN_ID, WANDB_RUN_GROUP, WANDB_JOB_TYPE, WANDB_NOTES, WANDB_TAGS, WANDB_MODE and WANDB_DIR are respected; with
 * WANDB_MODE=offline the run is written to a folder for `wandb sync`.
 *
 * A resumed run continues the same W&B run; steps that it already has are not sent again.
 */
export class WandbTracker implements Tracker {
  readonly name = "wandb";
  readonly #options: WandbOptions;
  #settings: WandbSettings | undefined;
  #sink: RunSink | undefined;
  #run: WandbRun | undefined;
  /** Values of a step are sent when the next one begins, since images may be added to it. */
  #row: { step: number; values: Record<string, unknown> } | undefined;
  readonly #started = Date.now();

  constructor(options: WandbOptions) {
    this.#options = options;
  }

  /**
   * @throws `ERR_CONFIG` if there is no key, or the server refuses the run; not if the server is unreachable. `ERR_IO`
   * if an offline run cannot be written.
   */
  async init(config: TrackedConfig): Promise<void> {
    const { env, inform, project, folder, saved } = this.#options;
    const settings = await readSettings(project, saved, env);
    if (settings.mode === "disabled") return;
    if (settings.mode === "online") this.#sink = await this.#connect(settings, config);
    else {
      const run = await OfflineRun.create(env.WANDB_DIR || folder, settings, config);
      // A resumed run has several folders, which are sent in order of time.
      const all = join(dirname(run.folder), `offline-run-*-${settings.runId}`);
      inform(`W&B: offline; send the run with: wandb sync ${all}`);
      this.#sink = run;
    }
    this.#settings = settings;
  }

  async log(values: TrackedValues, step: number): Promise<void> {
    await this.#add(step, values);
  }

  async images(name: string, images: readonly TrackedImage[], step: number): Promise<void> {
    if (!this.#sink || images.length === 0 || step <= this.#lastStep) return;
    const filenames: string[] = [];
    for (const { image } of images) {
      const png = await image.encode("png");
      const hash = createHash("sha256").update(png).digest("hex").slice(0, 20);
      const file = `media/images/${name.replace(/[^\w.-]/g, "_")}_${step}_${hash}.png`;
      await this.#sink.upload(file, png);
      filenames.push(file);
    }
    const { width, height } = images[0]!.image;
    const captions = images.some(({ caption }) => caption) ? images.map(({ caption }) => caption ?? "") : undefined;
    const media = {
      _type: "images/separated",
      width,
      height,
      format: "png",
      count: images.length,
      filenames,
      captions,
    };
    await this.#add(step, { [name]: media });
  }

  async flush(): Promise<void> {}

  state(): Record<string, string> | undefined {
    if (!this.#settings) return undefined;
    const { runId, project, entity } = this.#settings;
    const state = { id: runId, project: this.#run?.project ?? project };
    const owner = this.#run?.entity ?? entity;
    return owner === undefined ? state : { ...state, entity: owner };
  }

  async finish({ succeeded, timeoutMs = DEFAULT_FINISH_TIMEOUT }: Outcome): Promise<void> {
    const sink = this.#sink;
    if (!sink) return;
    let lost: { rows: number; files: number };
    try {
      await this.#sendRow(sink);
    } finally {
      this.#sink = undefined;
      lost = await sink.finish(succeeded ? 0 : 1, timeoutMs);
    }
    if (lost.rows + lost.files > 0)
      this.#options.warn(
        `W&B: ${lost.rows} steps and ${lost.files} images did not reach the server; metrics.jsonl and validation/ have them`,
      );
  }

  async #connect(settings: WandbSettings, config: TrackedConfig): Promise<Sender> {
    const { env, secrets, warn, inform, timing } = this.#options;
    if (!settings.apiKey)
      throw new InstructPix2PixError(
        "ERR_CONFIG",
        "no W&B key is set; set WANDB_API_KEY, run `wandb login`, or report to something else",
      );
    const http = new WandbHttp(settings.baseUrl, settings.apiKey, env);
    const sender = new Sender({
      http,
      start: (signal) => startRun(http, settings, config, signal),
      onStarted: (run) => {
        this.#run = run;
        const url = runUrl(settings.baseUrl, run.entity, run.project, run.id);
        inform(`W&B: ${run.displayName} at ${url}`);
      },
      warn: (message) => warn(secrets.redact(message)),
      timing,
    });
    try {
      await sender.open();
      return sender;
    } catch (error) {
      await http.close();
      if (!(error instanceof WandbError)) throw error;
      throw new InstructPix2PixError("ERR_CONFIG", secrets.redact(`W&B: ${error.message}`), { cause: error });
    }
  }

  /** The last step on the server when the run was resumed. */
  get #lastStep(): number {
    return this.#run?.lastStep ?? -1;
  }

  async #add(step: number, values: Readonly<Record<string, unknown>>): Promise<void> {
    if (!this.#sink) return;
    if (this.#row && step > this.#row.step) await this.#sendRow(this.#sink);
    this.#row ??= { step, values: {} };
    Object.assign(this.#row.values, values);
  }

  async #sendRow(sink: RunSink): Promise<void> {
    const row = this.#row;
    this.#row = undefined;
    if (!row || row.step <= this.#lastStep) return;
    const now = Date.now() / 1000;
    const runtime = (this.#run?.runtime ?? 0) + now - this.#started / 1000;
    await sink.send({ step: row.step, values: { ...row.values, _step: row.step, _timestamp: now, _runtime: runtime } });
  }
}
