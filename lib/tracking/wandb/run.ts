import { hostname } from "node:os";
import { parseJson } from "../../files/json.js";
import type { TrackedConfig } from "../tracker.js";
import { WandbError, type WandbHttp } from "./http.js";
import type { WandbSettings } from "./settings.js";

/** A run's data on the server. */
export interface WandbRun {
  readonly entity: string;
  readonly project: string;
  readonly id: string;
  readonly displayName: string;
  /** Lines of history that the server has. */
  readonly historyLines: number;
  /** The step of the last of them; −1 if there is none. */
  readonly lastStep: number;
  /** The run's duration in seconds before this process. */
  readonly runtime: number;
  /** The summary: the last value of each metric. */
  readonly summary: Readonly<Record<string, unknown>>;
}

type Progress = Pick<WandbRun, "historyLines" | "lastStep" | "runtime" | "summary">;

const UPSERT = `mutation UpsertBucket(
  $id: String, $name: String, $project: String, $entity: String, $displayName: String, $groupName: String, $jobType: String,
  $notes: String, $tags: [String!], $config: JSONString, $host: String
) {
  upsertBucket(input: {
    id: $id, name: $name, modelName: $project, entityName: $entity, displayName: $displayName, groupName: $groupName,
    jobType: $jobType, notes: $notes, tags: $tags, config: $config, host: $host
  }) {
    bucket { id name displayName historyLineCount project { name entity { name } } }
    inserted
  }
}`;

const RESUME_STATUS = `query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) { id name historyLineCount historyTail summaryMetrics }
  }
}`;

const CREATE_FILES = `mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  createRunFiles(input: { entityName: $entity, projectName: $project, runName: $run, files: $files }) {
    runID
    uploadHeaders
    files { name uploadUrl }
  }
}`;

/**
 * Creates the run on the server, or resumes the one with the same id.
 *
 * @throws {@link WandbError}
 */
export async function startRun(
  http: WandbHttp,
  settings: WandbSettings,
  config: TrackedConfig,
  signal: AbortSignal,
): Promise<WandbRun> {
  const { project, entity, runId } = settings;
  const before = settings.resume ? await progressOf(http, settings, signal) : undefined;
  const values = Object.entries(config).map(([name, value]) => [name, { value }]);
  const variables = {
    id: before?.storageId,
    name: runId,
    project,
    entity,
    displayName: settings.displayName,
    groupName: settings.group,
    jobType: settings.jobType,
    notes: settings.notes,
    tags: settings.tags,
    // Other clients use the telemetry to tell that a run has really started.
    config: JSON.stringify({ ...Object.fromEntries(values), _wandb: { value: { t: {} } } }),
    host: hostname(),
  };
  const { upsertBucket } = await http.graphql(UPSERT, variables, signal);
  const bucket = field(upsertBucket, "bucket");
  const model = field(bucket, "project");
  const run = {
    entity: text(field(field(model, "entity"), "name")) ?? entity,
    project: text(field(model, "name")) ?? project,
    id: text(field(bucket, "name")) ?? runId,
  };
  if (run.entity === undefined) throw new WandbError("refused", "it did not return the run's entity; set WANDB_ENTITY");
  return {
    ...run,
    entity: run.entity,
    displayName: text(field(bucket, "displayName")) ?? run.id,
    ...(before?.progress ?? { historyLines: 0, lastStep: -1, runtime: 0, summary: {} }),
  };
}

async function progressOf(
  http: WandbHttp,
  { project, entity, runId }: WandbSettings,
  signal: AbortSignal,
): Promise<{ storageId: string | undefined; progress: Progress } | undefined> {
  const { model } = await http.graphql(RESUME_STATUS, { project, entity, name: runId }, signal);
  const bucket = field(model, "bucket");
  if (bucket === undefined || bucket === null) return undefined;
  const tail = parsed(field(bucket, "historyTail"));
  const summary = parsed(field(bucket, "summaryMetrics"));
  // Lines are JSON strings within JSON.
  const rows = [...(Array.isArray(tail) ? tail.map(parsed) : []), summary];
  const largest = (key: string, fallback: number) =>
    Math.max(fallback, ...rows.map((row) => field(row, key)).filter((value) => typeof value === "number"));
  const historyLines = field(bucket, "historyLineCount");
  return {
    storageId: text(field(bucket, "id")),
    progress: {
      historyLines: typeof historyLines === "number" && historyLines >= 0 ? historyLines : 0,
      lastStep: largest("_step", -1),
      runtime: largest("_runtime", 0),
      summary: typeof summary === "object" && summary !== null ? { ...summary } : {},
    },
  };
}

/** An upload URL for a file. */
export interface UploadTarget {
  readonly url: string;
  readonly headers: readonly string[];
}

/**
 * Registers a file of the run.
 *
 * @throws {@link WandbError}
 */
export async function registerFile(
  http: WandbHttp,
  run: WandbRun,
  name: string,
  signal: AbortSignal,
): Promise<UploadTarget> {
  const variables = { entity: run.entity, project: run.project, run: run.id, files: [name] };
  const { createRunFiles } = await http.graphql(CREATE_FILES, variables, signal);
  const files = field(createRunFiles, "files");
  const url = Array.isArray(files) ? text(field(files[0], "uploadUrl")) : undefined;
  if (url === undefined) throw new WandbError("refused", "it named no place for a file");
  const headers = field(createRunFiles, "uploadHeaders");
  return { url, headers: Array.isArray(headers) ? headers.filter((line) => typeof line === "string") : [] };
}

/** The URL for lines of the run's files. */
export function streamPath({ entity, project, id }: WandbRun): string {
  return `/files/${[entity, project, id].map(encodeURIComponent).join("/")}/file_stream`;
}

function field(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value ? value : undefined;
}

function parsed(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return parseJson(value);
  } catch {
    return undefined;
  }
}
