import { createHash } from "node:crypto";
import { InstructPix2PixError } from "../../errors.js";
import type { Environment } from "../../native/platform.js";
import type { Secrets } from "../secrets.js";
import type { Outcome, TrackedConfig, TrackedImage, TrackedValues, Tracker } from "../tracker.js";
import { WandbError, WandbHttp } from "./http.js";
import { startRun, type WandbRun } from "./run.js";
import { Sender, type SenderTiming } from "./sender.js";
import { readSettings, runUrl, type WandbSettings } from "./settings.js";

export interface WandbOptions {
  /** Unless WANDB_PROJECT names another. */
  project: string;
  /** What {@link WandbTracker.state} returned to the run that is gone on with. */
  saved: Readonly<Record<string, string>> | undefined;
  /** Learns the key, so that it is not written down anywhere. */
  secrets: Secrets;
  /** Told what goes wrong; the run goes on. */
  warn: (message: string) => void;
  /** Told where the run can be looked at. */
  inform: (message: string) => void;
  env: Environment;
  timing?: Partial<SenderTiming> | undefined;
}

const DEFAULT_FINISH_TIMEOUT = 20_000;

/**
 * A run on a Weights & Biases server, by the protocol of its own clients: the run is made known by GraphQL
 * (`upsertBucket`), the history is streamed line by line (`file_stream`), pictures are uploaded to addresses that the
 * server gives. WANDB_API_KEY or the key that `wandb login` saved, WANDB_BASE_URL, WANDB_PROJECT, WANDB_ENTITY,
 * WANDB_NAME, WANDB_RUN_ID, WANDB_RUN_GROUP, WANDB_JOB_TYPE, WANDB_NOTES, WANDB_TAGS and WANDB_MODE are respected.
 *
 * A run that is resumed goes on in the same W&B run; steps that it has already are not sent again.
 */
export class WandbTracker implements Tracker {
  readonly name = "wandb";
  readonly #options: WandbOptions;
  #settings: WandbSettings | undefined;
  #sender: Sender | undefined;
  #run: WandbRun | undefined;
  /** Values of a step are sent when the next one begins, since pictures may still belong to it. */
  #row: { step: number; values: Record<string, unknown> } | undefined;
  #summary: Record<string, unknown> = {};
  readonly #started = Date.now();

  constructor(options: WandbOptions) {
    this.#options = options;
  }

  /** @throws `ERR_CONFIG` if there is no key, or the server refuses the run; not if the server cannot be reached */
  async init(config: TrackedConfig): Promise<void> {
    const { env, secrets, warn, inform, timing, project, saved } = this.#options;
    const settings = await readSettings(project, saved, env);
    if (settings.mode === "disabled") return;
    if (settings.mode === "offline")
      throw new InstructPix2PixError("ERR_CONFIG", "WANDB_MODE=offline is not supported");
    if (!settings.apiKey)
      throw new InstructPix2PixError(
        "ERR_CONFIG",
        "there is no W&B key; set WANDB_API_KEY, run `wandb login`, or report to something else",
      );
    secrets.add(settings.apiKey);
    this.#settings = settings;
    const http = new WandbHttp(settings.baseUrl, settings.apiKey, env);
    const sender = new Sender({
      http,
      start: (signal) => startRun(http, settings, config, signal),
      onStarted: (run) => {
        this.#run = run;
        this.#summary = { ...run.summary, ...this.#summary };
        const url = runUrl(settings.baseUrl, run.entity, run.project, run.id);
        inform(`W&B: ${run.displayName} at ${url}`);
      },
      warn: (message) => warn(secrets.redact(message)),
      timing,
    });
    try {
      await sender.open();
    } catch (error) {
      await http.close();
      if (!(error instanceof WandbError)) throw error;
      throw new InstructPix2PixError("ERR_CONFIG", secrets.redact(`W&B: ${error.message}`), { cause: error });
    }
    this.#sender = sender;
  }

  async log(values: TrackedValues, step: number): Promise<void> {
    this.#add(step, values);
  }

  async images(name: string, images: readonly TrackedImage[], step: number): Promise<void> {
    if (!this.#sender || images.length === 0 || step <= this.#lastStep) return;
    const filenames: string[] = [];
    for (const { image } of images) {
      const png = await image.encode("png");
      const hash = createHash("sha256").update(png).digest("hex").slice(0, 20);
      const file = `media/images/${name.replace(/[^\w.-]/g, "_")}_${step}_${hash}.png`;
      this.#sender.upload(file, png);
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
    this.#add(step, { [name]: media });
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
    const sender = this.#sender;
    if (!sender) return;
    this.#sendRow(sender);
    this.#sender = undefined;
    const { lines, files } = await sender.finish(succeeded ? 0 : 1, timeoutMs);
    if (lines + files > 0)
      this.#options.warn(
        `W&B: ${lines} steps and ${files} pictures did not reach the server; metrics.jsonl and validation/ have them`,
      );
  }

  /** The last step that the server had when the run was taken up. */
  get #lastStep(): number {
    return this.#run?.lastStep ?? -1;
  }

  #add(step: number, values: Readonly<Record<string, unknown>>): void {
    if (!this.#sender) return;
    if (this.#row && step > this.#row.step) this.#sendRow(this.#sender);
    this.#row ??= { step, values: {} };
    Object.assign(this.#row.values, values);
  }

  #sendRow(sender: Sender): void {
    const row = this.#row;
    this.#row = undefined;
    if (!row || row.step <= this.#lastStep) return;
    const now = Date.now() / 1000;
    const runtime = (this.#run?.runtime ?? 0) + now - this.#started / 1000;
    const values = { ...row.values, _step: row.step, _timestamp: now, _runtime: runtime };
    this.#summary = { ...this.#summary, ...values };
    sender.send({ step: row.step, json: toJson(values) }, toJson(this.#summary));
  }
}

/** Numbers that JSON does not have are written bare, as W&B's own clients do and its server expects. */
function toJson(values: object): string {
  const marked = JSON.stringify(values, (_, value: unknown) =>
    typeof value === "number" && !Number.isFinite(value) ? `\0${value}` : value,
  );
  return marked.replace(/"\\u0000(NaN|-?Infinity)"/g, "$1");
}
