import type { Progress } from "../routes/progress.js";
import { isOver, type JobRecord, type JobState } from "./job.js";
import type { TrainingProgress } from "./training-progress.js";

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
  /** The last step after which training made samples. */
  sampled_step: number | null;
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

/** A job of a server that runs. */
export interface Job {
  record: JobRecord;
  /** Of images that wait or are computed. */
  progress?: Progress | undefined;
  training: TrainingProgress;
  controller: AbortController;
  watchers: Set<(event: JobEvent) => void>;
}

/** @param others all jobs */
export function viewOf({ record, training, ...job }: Job, others: Iterable<Job>): JobView {
  const { id, type, state, created, started, finished, attempts, seed, results, error } = record;
  const progress = job.progress ?? training.progress;
  const running = progress?.state === "running" ? progress : undefined;
  const isAhead = ({ record: other }: Job) => other.type === "train" && !isOver(other) && other.created < created;
  const ahead = type === "train" ? [...others].filter(isAhead).length : 0;
  const position = progress?.state === "waiting" ? progress.position : ahead;
  return {
    ...{ id, object: "job", type, state, created: Math.floor(created), attempts },
    started: started === undefined ? null : Math.floor(started),
    finished: finished === undefined ? null : Math.floor(finished),
    position: state === "queued" ? position : null,
    step: running?.step ?? training.steps.at(-1)?.step ?? null,
    total_steps: running?.total_steps ?? training.total ?? null,
    seconds_left: isOver(record) ? null : (progress?.seconds_left ?? null),
    train_loss: training.loss,
    sampled_step: training.samples.at(-1)?.step ?? null,
    seed: seed ?? null,
    results: results.map((_, i) => `/v1/jobs/${id}/results/${i}`),
    model: type === "train" && state === "succeeded" ? `${id}/model` : null,
    error: error ?? null,
  };
}
