import { signal } from "@preact/signals";
import {
  type Fields,
  fetchDatasets,
  type Job,
  type JobSamples,
  type JobStep,
  removeJob,
  requestJobs,
  requestSamples,
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
/** The images that training made for a look at it, by the jobs' ids. */
export const samples = signal<Readonly<Record<string, readonly JobSamples[]>>>({});
/** Names of data sets. */
export const datasets = signal<readonly string[]>([]);

export const isOver = ({ state }: Job): boolean => state !== "queued" && state !== "running";

let timer: ReturnType<typeof setTimeout> | undefined;

/** Looks at the jobs now and, as long as some are not over, again and again. */
export async function lookAtJobs(): Promise<void> {
  clearTimeout(timer);
  const all = (await requestJobs()).filter(({ type }) => type === "train").reverse();
  const newSteps: Record<string, readonly JobStep[]> = {};
  const newSamples: Record<string, readonly JobSamples[]> = {};
  for (const job of all) {
    const { id } = job;
    newSteps[id] = await upToDate(steps.value[id], job.step, (after) => requestSteps(id, after));
    newSamples[id] = await upToDate(samples.value[id], job.sampled_step, (after) => requestSamples(id, after));
  }
  steps.value = newSteps;
  samples.value = newSamples;
  jobs.value = all;
  if (all.some((job) => !isOver(job))) timer = setTimeout(() => void tried(lookAtJobs()), LOOK_MS);
}

/** What is known, and what came since. @param newest the step up to which there is something */
async function upToDate<T extends { step: number }>(
  known: readonly T[] = [],
  newest: number | null,
  request: (after: number) => Promise<readonly T[]>,
): Promise<readonly T[]> {
  if (newest === null) return [];
  const last = known.at(-1)?.step ?? 0;
  if (newest === last) return known;
  // A job that goes on from a checkpoint makes steps again.
  return newest < last ? await request(0) : [...known, ...(await request(last))];
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

/** @param fields its options, once its image is ready */
export async function train(fields: () => Promise<Fields>): Promise<void> {
  await tried(
    (async () => {
      await submitTraining(await fields());
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
