import { signal } from "@preact/signals";
import {
  fetchDatasets,
  type Job,
  type JobStep,
  removeJob,
  requestJobs,
  requestSteps,
  stopJob,
  submitTraining,
} from "./api.js";
import { announced, problem } from "./state.js";

/** Milliseconds between two looks at jobs that are not over. */
const LOOK_MS = 1000;

/** Training jobs, the newest first; undefined if the server has none. */
export const jobs = signal<readonly Job[] | undefined>(undefined);
/** Their steps, by their ids. */
export const steps = signal<Readonly<Record<string, readonly JobStep[]>>>({});
/** Names of data sets. */
export const datasets = signal<readonly string[]>([]);

export const isOver = ({ state }: Job): boolean => state !== "queued" && state !== "running";

let timer: ReturnType<typeof setTimeout> | undefined;

/** Looks at the jobs now and, as long as some are not over, again and again. */
export async function lookAtJobs(): Promise<void> {
  clearTimeout(timer);
  const all = (await requestJobs()).filter(({ type }) => type === "train").reverse();
  const news: Record<string, readonly JobStep[]> = {};
  for (const job of all) {
    const known = steps.value[job.id] ?? [];
    const last = known.at(-1)?.step ?? 0;
    // A job that goes on from a checkpoint makes steps again.
    const again = job.step !== null && job.step < last;
    const unread = job.step === null ? known.length === 0 : job.step !== last;
    const more = unread ? await requestSteps(job.id, again ? 0 : last) : [];
    news[job.id] = again ? more : [...known, ...more];
  }
  steps.value = news;
  jobs.value = all;
  if (all.some((job) => !isOver(job))) timer = setTimeout(() => void tried(lookAtJobs()), LOOK_MS);
}

/** For a server that has jobs. */
export async function connectJobs(): Promise<void> {
  await tried(
    (async () => {
      datasets.value = await fetchDatasets();
      await lookAtJobs();
    })(),
  );
}

export async function train(fields: Record<string, string | number>): Promise<void> {
  await tried(
    (async () => {
      await submitTraining(fields);
      announced.value = "training was asked for";
      await lookAtJobs();
    })(),
  );
}

export async function cancelJob(job: Job): Promise<void> {
  await tried(stopJob(job.id).then(lookAtJobs));
}

export async function forgetJob(job: Job): Promise<void> {
  await tried(removeJob(job.id).then(lookAtJobs));
}

async function tried(work: Promise<void>): Promise<void> {
  try {
    await work;
    problem.value = "";
  } catch (error) {
    problem.value = error instanceof Error ? error.message : String(error);
  }
}
