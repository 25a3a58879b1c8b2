import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { withLock } from "../../files/lock.js";
import { loadImage, type RgbImage } from "../../images/index.js";
import { writeFileAtomically } from "../../images/write-file.js";
import { validationFile } from "../../training/recipes/edit/validate.js";
import { encodePicture, unixTime } from "../answers.js";
import { type Computation, compute } from "../compute.js";
import { describeError, HttpError } from "../errors.js";
import type { EditFields } from "../fields.js";
import { invalidOption } from "../options.js";
import type { Serving } from "../serving.js";
import { Background } from "./background.js";
import { isOver, JobFolder, type JobRecord, type JobState } from "./job.js";
import { MOST_ATTEMPTS, TrainingJobs } from "./training-jobs.js";
import { TrainingProgress, type TrainingStep } from "./training-progress.js";
import { type Job, type JobEvent, type JobView, viewOf } from "./view.js";

const SWEEP_MS = 60_000;

/** Why a run ends that goes on at the server's next start. */
const STOPPING = new HttpError(503, "ERR_STOPPING", "the server is stopping");
const CANCELLED = new HttpError(409, "ERR_CANCELLED", "the job was cancelled");

/** A new job, once its fields are valid. */
export interface NewJob {
  type: JobRecord["type"];
  client: string;
  fields: Record<string, unknown>;
  image?: RgbImage | undefined;
  mask?: RgbImage | undefined;
}

/**
 * The jobs of a server. Their state is on disk: those that a crash or a stop interrupted go on at the next start. Images
 * are computed again; training runs in processes of its own, which outlive the server, and go on from the newest checkpoint
 * if they end without having said why.
 */
export class Jobs {
  readonly #serving: Serving;
  readonly #folder: JobFolder;
  readonly #jobs = new Map<string, Job>();
  readonly #background: Background;
  readonly #training: TrainingJobs;
  #release = () => {};
  #held: Promise<unknown> = Promise.resolve();

  private constructor(serving: Serving, folder: JobFolder) {
    this.#serving = serving;
    this.#folder = folder;
    this.#background = new Background((error) => serving.log.error(error));
    this.#training = new TrainingJobs({
      ...{ serving, folder, background: this.#background, jobs: this.#jobs },
      tell: (job) => this.#tell(job),
      end: (job, state, error) => this.#end(job, state, error),
      fail: (job, error) => this.#fail(job, error),
    });
  }

  /** @throws `ERR_INVALID_ARGUMENT` for a folder that another server uses, `ERR_IO` */
  static async open(serving: Serving, path: string): Promise<Jobs> {
    const jobs = new Jobs(serving, new JobFolder(path));
    await jobs.#lock();
    // All are known before one goes on: it may be another's turn.
    const found = (await jobs.#folder.list()).map((record) => jobs.#add(record));
    for (const job of found) await jobs.#takeUp(job);
    jobs.#background.every(SWEEP_MS, () => jobs.#sweep());
    jobs.#background.do(jobs.#training.next());
    return jobs;
  }

  async #lock(): Promise<void> {
    const path = join(this.#folder.path, "server.lock");
    await new Promise<void>((resolve, reject) => {
      const onWait = (holder: string) => {
        throw invalidOption(`jobsDir is used by another server (${holder})`);
      };
      this.#held = withLock(path, { onWait }, () => {
        resolve();
        return new Promise<void>((release) => {
          this.#release = release;
        });
      }).catch(reject);
    });
  }

  async #takeUp(job: Job): Promise<void> {
    const { record } = job;
    if (record.type === "train") return await this.#training.takeUp(job);
    if (isOver(record)) return;
    if (record.attempts >= MOST_ATTEMPTS)
      await this.#end(job, "failed", {
        code: "ERR_INTERRUPTED",
        message: `the server ended ${record.attempts} times while this job was computed`,
      });
    else {
      record.state = "queued";
      this.#background.do(this.#compute(job));
    }
  }

  #add(record: JobRecord): Job {
    const job: Job = {
      ...{ record, training: new TrainingProgress(), controller: new AbortController(), watchers: new Set() },
    };
    this.#jobs.set(record.id, job);
    return job;
  }

  /** @throws a 429 when there are too many */
  async submit({ type, client, fields, image, mask }: NewJob): Promise<JobView> {
    const { maxJobs } = this.#serving.settings;
    const unfinished = [...this.#jobs.values()].filter(({ record }) => !isOver(record)).length;
    if (unfinished >= maxJobs) throw new HttpError(429, "ERR_BUSY", "too many jobs are waiting", { retryAfter: 60 });
    if (type === "train") await this.#training.sourcesOf(fields);
    const inputs = { ...(image && { image: "image.png" }), ...(mask && { mask: "mask.png" }) };
    const record: JobRecord = {
      ...{ id: this.#folder.newId(), type, client, state: "queued", created: Date.now() / 1000 },
      ...{ fields, inputs, results: [], attempts: 0 },
    };
    await this.#folder.create(record, {
      ...(image && { "image.png": await image.encode("png") }),
      ...(mask && { "mask.png": await mask.encode("png") }),
    });
    const job = this.#add(record);
    this.#background.do(type === "train" ? this.#training.next() : this.#compute(job));
    return this.#view(job);
  }

  list(client: string): JobView[] {
    return [...this.#jobs.values()].filter(({ record }) => record.client === client).map((job) => this.#view(job));
  }

  /** @throws a 404, also for other clients' jobs */
  get(id: string, client: string): JobView {
    return this.#view(this.#find(id, client));
  }

  steps(id: string, client: string, after: number): TrainingStep[] {
    return this.#find(id, client).training.steps.filter(({ step }) => step > after);
  }

  /** Samples of training, by the paths of their images. */
  samples(id: string, client: string, after: number): { step: number; images: string[] }[] {
    return this.#find(id, client)
      .training.samples.filter(({ step }) => step > after)
      .map(({ step, count }) => ({
        step,
        images: Array.from({ length: count }, (_, i) => `/v1/jobs/${id}/samples/${step}/${i}`),
      }));
  }

  /** An image that training made as a sample. @throws a 404 */
  async sample(id: string, client: string, step: number, index: number): Promise<Buffer> {
    const known = this.#find(id, client).training.samples.find((each) => each.step === step);
    if (!known || index >= known.count) throw new HttpError(404, "ERR_NOT_FOUND", "the job has no such sample");
    return await readFile(validationFile(this.#folder.of(id, "model"), step, index));
  }

  /** A file of a job's results. */
  async result(id: string, client: string, index: number): Promise<{ name: string; bytes: Buffer }> {
    const name = this.#find(id, client).record.results[index];
    if (name === undefined) throw new HttpError(404, "ERR_NOT_FOUND", "the job has no such result");
    return { name, bytes: await readFile(this.#folder.of(id, name)) };
  }

  /** Tells of a job from now on. @returns ends that */
  watch(id: string, client: string, tell: (event: JobEvent) => void): () => void {
    const job = this.#find(id, client);
    job.watchers.add(tell);
    tell({ type: "job", job: this.#view(job) });
    return () => job.watchers.delete(tell);
  }

  /** Ends a job; nothing if it is over. */
  async cancel(id: string, client: string): Promise<JobView> {
    const job = this.#find(id, client);
    const { record } = job;
    if (isOver(record)) return this.#view(job);
    job.controller.abort(CANCELLED);
    if (record.state === "queued") await this.#end(job, "cancelled");
    else if (record.type === "train") await this.#training.cancel(job);
    return this.#view(job);
  }

  /** Removes a job that is over, and its results. @throws a 409 */
  async remove(id: string, client: string): Promise<void> {
    const { record } = this.#find(id, client);
    if (!isOver(record)) throw new HttpError(409, "ERR_IN_USE", "the job is not over: cancel it first");
    this.#jobs.delete(id);
    await this.#folder.remove(id);
  }

  #find(id: string, client: string): Job {
    const job = this.#jobs.get(id);
    if (job?.record.client === client) return job;
    throw new HttpError(404, "ERR_NOT_FOUND", "there is no such job");
  }

  async #compute(job: Job): Promise<void> {
    const { record, controller } = job;
    try {
      const result = await compute(this.#serving, await this.#computation(job), controller.signal, {
        // On disk before the work begins: a job that takes the server down must not be tried for ever.
        onBegin: () => this.#begin(job),
        onProgress: (progress) => {
          job.progress = progress;
          this.#tell(job);
        },
        onPreview: async (picture, index) => {
          const b64_json = (await encodePicture(picture, { output_format: "webp" })).toString("base64");
          for (const tell of job.watchers) tell({ type: "preview", index, b64_json });
        },
      });
      const fields = record.fields as unknown as EditFields;
      for (const [i, image] of result.images.entries()) {
        const name = `result-${i}.${fields.output_format}`;
        await writeFileAtomically(this.#folder.of(record.id, name), await encodePicture(image, fields));
        record.results.push(name);
      }
      record.seed = Number(result.seed);
      await this.#end(job, "succeeded");
    } catch (error) {
      // It goes on at the next start.
      if (controller.signal.reason === STOPPING) return;
      if (controller.signal.aborted) await this.#end(job, "cancelled");
      else await this.#fail(job, error);
    }
  }

  async #computation({ record }: Job): Promise<Computation> {
    const { fields, inputs, id } = record;
    const read = async (name: string | undefined) =>
      name === undefined ? undefined : loadImage(this.#folder.of(id, name));
    const [image, mask] = [await read(inputs.image), await read(inputs.mask)];
    const { computation, ...rest } = fields as { computation: Pick<Computation, "model" | "size" | "loras"> };
    return { ...computation, fields: rest as unknown as EditFields, pictures: image && { image, mask } };
  }

  async #begin(job: Job): Promise<void> {
    job.record.state = "running";
    job.record.started = Date.now() / 1000;
    job.record.attempts++;
    await this.#folder.save(job.record);
    this.#tell(job);
  }

  async #fail(job: Job, error: unknown): Promise<void> {
    const { code, message } = describeError(error, false).body().error;
    await this.#end(job, "failed", { code, message });
  }

  async #end(job: Job, state: JobState, error?: JobRecord["error"]): Promise<void> {
    const { record } = job;
    if (isOver(record)) return;
    record.state = state;
    record.finished = Date.now() / 1000;
    if (error) record.error = error;
    job.progress = undefined;
    await this.#folder.save(record);
    this.#tell(job);
    this.#training.ended(job);
  }

  #tell(job: Job): void {
    const event: JobEvent = { type: "job", job: this.#view(job) };
    for (const tell of job.watchers) tell(event);
  }

  #view(job: Job): JobView {
    return viewOf(job, this.#jobs.values());
  }

  /** Removes jobs whose results were kept for long enough. */
  async #sweep(): Promise<void> {
    const { jobRetention } = this.#serving.settings;
    for (const [id, { record }] of this.#jobs)
      if (isOver(record) && unixTime() - record.finished! > jobRetention) {
        this.#jobs.delete(id);
        await this.#folder.remove(id);
      }
  }

  /** Leaves all jobs for the next start; training goes on meanwhile. */
  async stop(): Promise<void> {
    for (const { controller, record } of this.#jobs.values()) if (!isOver(record)) controller.abort(STOPPING);
    await this.#background.stop();
    this.#release();
    await this.#held;
  }
}
