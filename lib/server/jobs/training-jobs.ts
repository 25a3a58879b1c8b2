import { HttpError } from "../errors.js";
import type { Serving } from "../serving.js";
import type { Background } from "./background.js";
import { datasetFolder } from "./datasets.js";
import { isOver, type JobFolder, type JobRecord, type JobState } from "./job.js";
import { StartTicket } from "./start-ticket.js";
import { endProcess, isRunning, startTraining, type TrainingEvent, TrainingLog } from "./training.js";
import type { Job } from "./view.js";

/** A job is begun so often; a crash may be its own doing. */
export const MOST_ATTEMPTS = 3;
/** Milliseconds between two looks at a training process. */
const POLL_MS = 300;
/** Milliseconds after which a training process that was asked to end is killed. */
const KILL_MS = 60_000;

/** What training needs of the jobs that it is among. */
interface Surroundings {
  serving: Pick<Serving, "store" | "settings">;
  folder: JobFolder;
  background: Background;
  jobs: ReadonlyMap<string, Job>;
  tell(job: Job): void;
  end(job: Job, state: JobState, error?: JobRecord["error"]): Promise<void>;
  fail(job: Job, error: unknown): Promise<void>;
}

/**
 * Training jobs: one runs at a time, in a process that outlives the server and is followed by what it prints. One that ends
 * without having said why is begun again from its newest checkpoint.
 */
export class TrainingJobs {
  readonly #in: Surroundings;
  #current: Job | undefined;

  constructor(surroundings: Surroundings) {
    this.#in = surroundings;
  }

  /** Goes on with a job of a server before this one, which may have ended at any time. */
  async takeUp(job: Job): Promise<void> {
    const { record } = job;
    if (isOver(record)) return void (await this.#readLog(job));
    if (record.state === "queued") return;
    if (!record.process) {
      const begun = await this.#ticketOf(record).settle();
      if (begun) record.process = begun;
      await this.#in.folder.save(record);
    }
    if (!record.process || !(await isRunning(record.process))) return await this.#lost(job);
    if (record.cancelling) await this.#askToEnd(record);
    this.#watch(job);
  }

  /** Starts the next job, unless one runs. */
  async next(): Promise<void> {
    const { background, jobs, fail } = this.#in;
    if (this.#current || background.stopping) return;
    const next = [...jobs.values()].find(({ record }) => record.type === "train" && record.state === "queued");
    if (!next) return;
    this.#current = next;
    try {
      await this.#start(next);
    } catch (error) {
      // Its record could not be written, say: then nobody is to train for it.
      if (next.record.process) await endProcess(next.record.process, "SIGTERM");
      await fail(next, error);
    }
  }

  async #start(job: Job): Promise<void> {
    const { folder } = this.#in;
    const { record } = job;
    const { id, fields, inputs } = record;
    const { model, dataset, imageOption } = await this.sourcesOf(fields);
    if (isOver(record)) return; // It was cancelled meanwhile.
    record.attempts++;
    record.started ??= Date.now() / 1000;
    record.state = "running";
    // From here on the next server looks for a process: see StartTicket.
    await folder.save(record);
    const ticket = this.#ticketOf(record);
    await ticket.issue();
    record.process = await startTraining({
      ...{ model, dataset, fields, ticket, output: folder.of(id, "model"), log: folder.of(id, "train.log") },
      image: inputs.image === undefined ? undefined : { option: imageOption, path: folder.of(id, inputs.image) },
    });
    await folder.save(record);
    if (record.cancelling) await this.#askToEnd(record);
    this.#watch(job);
  }

  /** What a job is made from. @throws a 400 or 404 naming the field */
  async sourcesOf({ model: name, dataset }: JobRecord["fields"]) {
    const { store, settings } = this.#in.serving;
    const folder = await datasetFolder(settings.trainDir, String(dataset));
    const { source, about } = store.originOf(name as string | undefined);
    if (source === undefined) {
      const problem = "the model was given to the server by a program: it has no files";
      throw new HttpError(400, "ERR_INVALID_ARGUMENT", problem, { param: "model" });
    }
    const imageOption = /XL/.test(about.class_name) ? "val_image_url_or_path" : "val_image_url";
    return { model: source, dataset: folder, imageOption } as const;
  }

  #ticketOf({ id, attempts }: JobRecord): StartTicket {
    return new StartTicket(this.#in.folder.of(id), attempts);
  }

  /** Asks the process to end; nothing if the job has none yet: it then ends as soon as it has one. */
  async cancel({ record }: Job): Promise<void> {
    record.cancelling = true;
    await this.#in.folder.save(record);
    await this.#askToEnd(record);
  }

  async #askToEnd({ process }: JobRecord): Promise<void> {
    const { background } = this.#in;
    if (!process) return;
    await endProcess(process, "SIGTERM");
    background.after(KILL_MS, () => background.do(endProcess(process, "SIGKILL")));
  }

  /** Told when a job is over. */
  ended(job: Job): void {
    if (this.#current !== job) return;
    this.#current = undefined;
    this.#in.background.do(this.next());
  }

  /** Follows a training process, whoever started it. */
  #watch(job: Job): void {
    const { background, folder, end, tell } = this.#in;
    this.#current = job;
    const { record, training } = job;
    const log = new TrainingLog(folder.of(record.id, "train.log"));
    let last: TrainingEvent | undefined;
    background.every(POLL_MS, async (stop) => {
      const alive = await isRunning(record.process!);
      for (const event of await log.next()) {
        last = event;
        if (training.take(event)) tell(job);
      }
      if (alive) return;
      stop();
      if (last?.event === "done") await end(job, "succeeded");
      else if (record.cancelling) await end(job, "cancelled");
      else if (last?.event === "error")
        await end(job, "failed", { code: String(last.code), message: String(last.message) });
      else await this.#lost(job);
    });
  }

  /** A process ended without a word, as by kill -9 or when the machine stopped, or was never started. */
  async #lost(job: Job): Promise<void> {
    const { folder, end } = this.#in;
    const { record } = job;
    const last = await this.#readLog(job);
    delete record.process;
    if (last?.event === "done") return await end(job, "succeeded");
    if (record.cancelling) return await end(job, "cancelled");
    if (record.attempts >= MOST_ATTEMPTS)
      return await end(job, "failed", {
        code: "ERR_INTERRUPTED",
        message: `training was interrupted ${record.attempts} times`,
      });
    record.state = "queued";
    await folder.save(record);
    if (this.#current === job) this.#current = undefined;
    await this.next();
  }

  /** Reads what the processes of a job have printed that have ended. @returns the last thing */
  async #readLog(job: Job): Promise<TrainingEvent | undefined> {
    const events = await new TrainingLog(this.#in.folder.of(job.record.id, "train.log")).next();
    for (const event of events) job.training.take(event);
    job.training.progress = undefined;
    return events.at(-1);
  }
}
