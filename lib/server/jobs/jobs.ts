import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { withLock } from "../../files/lock.js";
import { loadImage, type RgbImage } from "../../images/index.js";
import { writeFileAtomically } from "../../images/write-file.js";
import { encodePicture, unixTime } from "../answers.js";
import { type Computation, compute } from "../compute.js";
import { describeError, HttpError } from "../errors.js";
import type { EditFields } from "../fields.js";
import { invalidOption } from "../options.js";
import type { Progress } from "../routes/progress.js";
import type { Serving } from "../serving.js";
import { isOver, JobFolder, type JobRecord, type JobState } from "./job.js";
import { endProcess, isRunning, startTraining, type TrainingEvent, TrainingLog } from "./training.js";

/** A job is begun so often; a crash may be its own doing. */
const MOST_ATTEMPTS = 3;
/** Milliseconds between two looks at a training process. */
const POLL_MS = 300;
/** Milliseconds after which a training process that was asked to end is killed. */
const KILL_MS = 60_000;
const SWEEP_MS = 60_000;

/** Names of data sets. */
export const DATASET = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}$/;

/** Why a run ends that goes on at the server's next start. */
const STOPPING = new HttpError(503, "ERR_STOPPING", "the server is stopping");
const CANCELLED = new HttpError(409, "ERR_CANCELLED", "the job was cancelled");

/** A step of training. */
export interface TrainingStep {
  step: number;
  train_loss: number | null;
}

/** What clients are told of a job. */
export interface JobView {
  id: string;
  object: "job";
  type: JobRecord["type"];
  state: JobState;
  created: number;
  started: number | null;
  finished: number | null;
  /** Jobs and requests before it. */
  position: number | null;
  step: number | null;
  total_steps: number | null;
  seconds_left: number | null;
  train_loss: number | null;
  attempts: number;
  seed: number | null;
  /** Paths of its images. */
  results: string[];
  /** A trained model's folder below that of the jobs. */
  model: string | null;
  error: { code: string; message: string } | null;
}

/** What those who watch a job are told. */
export type JobEvent = { type: "job"; job: JobView } | { type: "preview"; index: number; b64_json: string };

interface Job {
  record: JobRecord;
  progress?: Progress | undefined;
  steps: TrainingStep[];
  loss?: number | null;
  /** Steps of training in all. */
  total?: number;
  controller: AbortController;
  watchers: Set<(event: JobEvent) => void>;
}

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
  readonly #trainDir: string | undefined;
  readonly #jobs = new Map<string, Job>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #pending = new Set<Promise<void>>();
  #release = () => {};
  #held: Promise<unknown> = Promise.resolve();
  #stopping = false;
  #training: Job | undefined;

  private constructor(serving: Serving, folder: JobFolder, trainDir: string | undefined) {
    this.#serving = serving;
    this.#folder = folder;
    this.#trainDir = trainDir;
  }

  /** @throws `ERR_INVALID_ARGUMENT` for a folder that another server uses, `ERR_IO` */
  static async open(serving: Serving, path: string): Promise<Jobs> {
    const jobs = new Jobs(serving, new JobFolder(path), serving.settings.trainDir);
    await jobs.#lock();
    for (const record of await jobs.#folder.list()) await jobs.#takeUp(record);
    jobs.#every(SWEEP_MS, () => jobs.#sweep());
    void jobs.#nextTraining();
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

  async #takeUp(record: JobRecord): Promise<void> {
    const job = this.#add(record);
    if (isOver(record)) {
      if (record.type === "train") await this.#readSteps(job);
      return;
    }
    if (record.type === "train") {
      if (record.process && (await isRunning(record.process))) this.#watchTraining(job);
      else if (record.process) await this.#lostProcess(job);
      return;
    }
    if (record.attempts >= MOST_ATTEMPTS)
      await this.#end(job, "failed", {
        code: "ERR_INTERRUPTED",
        message: `the server ended ${record.attempts} times while this job was computed`,
      });
    else {
      record.state = "queued";
      this.#inBackground(this.#compute(job));
    }
  }

  #add(record: JobRecord): Job {
    const job: Job = { record, steps: [], controller: new AbortController(), watchers: new Set() };
    this.#jobs.set(record.id, job);
    return job;
  }

  /** @throws a 429 when there are too many */
  async submit({ type, client, fields, image, mask }: NewJob): Promise<JobView> {
    const { maxJobs } = this.#serving.settings;
    const unfinished = [...this.#jobs.values()].filter(({ record }) => !isOver(record)).length;
    if (unfinished >= maxJobs) throw new HttpError(429, "ERR_BUSY", "too many jobs are waiting", { retryAfter: 60 });
    if (type === "train") await this.datasetOf(fields);
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
    if (type === "train") this.#inBackground(this.#nextTraining());
    else this.#inBackground(this.#compute(job));
    return this.#view(job);
  }

  /** The folder of the data set that a training job names, and its model. @throws a 400 */
  async datasetOf({ dataset, model }: Record<string, unknown>): Promise<{ dataset: string; model: string }> {
    if (this.#trainDir === undefined)
      throw new HttpError(400, "ERR_CONFIG", "this server does not train: it has no --train_dir", { param: "type" });
    const refuse = (param: string, problem: string) => new HttpError(400, "ERR_INVALID_ARGUMENT", problem, { param });
    const path = await realpath(join(this.#trainDir, String(dataset))).catch(() => undefined);
    const inside = `${await realpath(this.#trainDir)}${sep}`;
    if (!path?.startsWith(inside) || !(await stat(path)).isDirectory())
      throw refuse("dataset", "there is no such data set on this server");
    const from = this.#serving.store.sourceOf(model as string | undefined);
    if (from === undefined) throw refuse("model", "the model was given to the server by a program: it has no files");
    return { dataset: path, model: from };
  }

  /** The names of the data sets that training jobs may use. */
  async datasets(): Promise<string[]> {
    if (this.#trainDir === undefined) return [];
    const entries = await readdir(this.#trainDir, { withFileTypes: true });
    return entries.filter((each) => each.isDirectory() && DATASET.test(each.name)).map(({ name }) => name);
  }

  list(client: string): JobView[] {
    return [...this.#jobs.values()].filter(({ record }) => record.client === client).map((job) => this.#view(job));
  }

  /** @throws a 404, also for other clients' jobs */
  get(id: string, client: string): JobView {
    return this.#view(this.#find(id, client));
  }

  steps(id: string, client: string, after: number): TrainingStep[] {
    return this.#find(id, client).steps.filter(({ step }) => step > after);
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
    if (record.type === "train") {
      if (record.process) {
        record.cancelling = true;
        await this.#folder.save(record);
        await endProcess(record.process, "SIGTERM");
        const { process } = record;
        this.#after(KILL_MS, () => this.#inBackground(endProcess(process, "SIGKILL")));
      } else await this.#end(job, "cancelled");
    } else if (record.state === "queued") await this.#end(job, "cancelled");
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
    if (this.#training === job) {
      this.#training = undefined;
      this.#inBackground(this.#nextTraining());
    }
  }

  /** Starts the next training job: one runs at a time. */
  async #nextTraining(): Promise<void> {
    if (this.#training || this.#stopping) return;
    const waiting = [...this.#jobs.values()].filter(({ record }) => record.type === "train" && !isOver(record));
    const next = waiting.find(({ record }) => !record.process);
    if (!next) return;
    this.#training = next;
    const { record } = next;
    try {
      const where = await this.datasetOf(record.fields);
      const output = this.#folder.of(record.id, "model");
      const log = this.#folder.of(record.id, "train.log");
      record.attempts++;
      record.started ??= Date.now() / 1000;
      record.state = "running";
      record.process = await startTraining({ ...where, fields: record.fields, output, log });
      await this.#folder.save(record);
      this.#watchTraining(next);
    } catch (error) {
      await this.#fail(next, error);
    }
  }

  /** Follows a training process, whoever started it, by what it prints. */
  #watchTraining(job: Job): void {
    this.#training = job;
    const { record } = job;
    const log = new TrainingLog(this.#folder.of(record.id, "train.log"));
    let attempt = 0;
    let last: TrainingEvent | undefined;
    const read = async () => {
      for (const event of await log.next()) {
        last = event;
        if (event.event === "started") attempt++;
        this.#trained(job, event, attempt);
      }
    };
    this.#every(POLL_MS, async (stop) => {
      const alive = await isRunning(record.process!);
      await read();
      if (alive) return;
      stop();
      if (last?.event === "done") await this.#end(job, "succeeded");
      else if (record.cancelling) await this.#end(job, "cancelled");
      else if (last?.event === "error")
        await this.#end(job, "failed", { code: String(last.code), message: String(last.message) });
      else await this.#lostProcess(job);
    });
  }

  /** A process ended without a word, as by kill -9 or when the machine stopped: it goes on from its newest checkpoint. */
  async #lostProcess(job: Job): Promise<void> {
    const { record } = job;
    const last = await this.#readSteps(job);
    delete record.process;
    if (last?.event === "done") return await this.#end(job, "succeeded");
    if (record.cancelling) return await this.#end(job, "cancelled");
    if (record.attempts >= MOST_ATTEMPTS)
      return await this.#end(job, "failed", {
        code: "ERR_INTERRUPTED",
        message: `the training process was killed ${record.attempts} times`,
      });
    record.state = "queued";
    await this.#folder.save(record);
    if (this.#training === job) this.#training = undefined;
    await this.#nextTraining();
  }

  /** The steps of a job whose process has ended. @returns the last thing that it said */
  async #readSteps(job: Job): Promise<TrainingEvent | undefined> {
    const events = await new TrainingLog(this.#folder.of(job.record.id, "train.log")).next();
    for (const event of events) this.#trained(job, event, 0);
    job.progress = undefined;
    return events.at(-1);
  }

  #trained(job: Job, event: TrainingEvent, attempt: number): void {
    const number = (name: string) => (typeof event[name] === "number" ? (event[name] as number) : null);
    if (event.event === "started") {
      const total = number("total_steps") ?? 0;
      job.total = total;
      job.progress = { state: "running", step: number("step") ?? 0, total_steps: total, seconds_left: 0 };
    }
    if (event.event !== "step") return;
    const step = number("step")!;
    // After a resumption, steps are made again that were made after the checkpoint.
    while ((job.steps.at(-1)?.step ?? 0) >= step) job.steps.pop();
    job.steps.push({ step, train_loss: number("train_loss") });
    job.loss = number("train_loss");
    const total = job.progress?.state === "running" ? job.progress.total_steps : 0;
    const seconds = number("seconds") ?? 0;
    const left = Math.round(10 * seconds * Math.max(0, total - step)) / 10;
    job.progress = { state: "running", step, total_steps: total, seconds_left: left };
    if (attempt > 0) this.#tell(job);
  }

  #tell(job: Job): void {
    const event: JobEvent = { type: "job", job: this.#view(job) };
    for (const tell of job.watchers) tell(event);
  }

  #view({ record, progress, loss, steps, total }: Job): JobView {
    const { id, type, state, created, started, finished, attempts, seed, results, error } = record;
    const running = progress?.state === "running" ? progress : undefined;
    const ahead = [...this.#jobs.values()].filter(
      (other) => other.record.type === "train" && !isOver(other.record) && other.record.created < created,
    );
    const position = progress?.state === "waiting" ? progress.position : type === "train" ? ahead.length : 0;
    return {
      ...{ id, object: "job", type, state, created: Math.floor(created), attempts },
      started: started === undefined ? null : Math.floor(started),
      finished: finished === undefined ? null : Math.floor(finished),
      position: state === "queued" ? position : null,
      step: running?.step ?? steps.at(-1)?.step ?? null,
      total_steps: running?.total_steps ?? total ?? null,
      seconds_left: isOver(record) ? null : (progress?.seconds_left ?? null),
      train_loss: loss ?? null,
      seed: seed ?? null,
      results: results.map((_, i) => `/v1/jobs/${id}/results/${i}`),
      model: type === "train" && state === "succeeded" ? `${id}/model` : null,
      error: error ?? null,
    };
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

  /** Does something that nobody waits for until the server stops. */
  #inBackground(work: Promise<void>): void {
    const logged = work.catch((error) => this.#serving.log.error(error)).finally(() => this.#pending.delete(logged));
    this.#pending.add(logged);
  }

  #after(milliseconds: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, milliseconds);
    this.#timers.add(timer.unref());
  }

  /** Does something again and again, one at a time, until it stops that or the server does. */
  #every(milliseconds: number, work: (stop: () => void) => Promise<void>): void {
    let over = false;
    const again = () =>
      this.#after(milliseconds, () => {
        const done = work(() => {
          over = true;
        });
        this.#inBackground(done.finally(() => !over && !this.#stopping && again()));
      });
    again();
  }

  /** Leaves all jobs for the next start; training goes on meanwhile. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const { controller, record } of this.#jobs.values()) if (!isOver(record)) controller.abort(STOPPING);
    while (this.#pending.size > 0) await Promise.all(this.#pending);
    this.#release();
    await this.#held;
  }
}
