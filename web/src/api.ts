import { readEvents } from "./events.js";
import type { Settings } from "./settings.js";

/** A model as `/v1/models` lists it. */
export interface Model {
  id: string;
  class_name: string;
  uses: ("edit" | "inpaint" | "generate")[];
  instructed: boolean;
  size: string | null;
  /** What it edits, if it is built in. */
  built_in: "photos" | "world" | null;
  guidance_scale: number | null;
}

/** What the server says of its fields. */
export interface Limits {
  steps: { maximum: number; default: number };
  images: number;
  previews: number;
  schedulers: string[];
  /** Whether it has jobs. */
  jobs: boolean;
}

/** A job as the server lists it, as far as the page shows it. */
export interface Job {
  id: string;
  type: "edit" | "generate" | "train";
  state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  position: number | null;
  step: number | null;
  total_steps: number | null;
  seconds_left: number | null;
  sampled_step: number | null;
  model: string | null;
  error: { message: string } | null;
}

/** A step of training. */
export interface JobStep {
  step: number;
  train_loss: number | null;
}

/** Samples that training made after a step: paths of images. */
export interface JobSamples {
  step: number;
  images: string[];
}

/** A request that the server refused. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const KEY = "ip2p-key";

/** The key that requests are sent with: kept as long as the tab is open. */
export function setKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const key = sessionStorage.getItem(KEY);
  const headers: HeadersInit = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch(new URL(path, document.baseURI), { ...init, headers });
  if (answer.ok) return answer;
  const problem = (await answer.json().catch(() => undefined)) as { error?: { message?: string } } | undefined;
  const retry = answer.headers.get("retry-after");
  const message = problem?.error?.message ?? `the server answered ${answer.status}`;
  throw new ApiError(answer.status, retry ? `${message}; try again in ${retry} s` : message);
}

export async function fetchModels(): Promise<Model[]> {
  return ((await (await ask("v1/models")).json()) as { data: Model[] }).data;
}

const listOf = async <T>(path: string) => ((await (await ask(path)).json()) as { data: T[] }).data;

/** The names of the server's LoRA adapters. */
export async function fetchLoras(): Promise<string[]> {
  return (await listOf<{ id: string }>("v1/loras")).map(({ id }) => id);
}

/** The names of the data sets that training jobs may use. */
export async function fetchDatasets(): Promise<string[]> {
  return (await listOf<{ id: string }>("v1/datasets")).map(({ id }) => id);
}

export const requestJobs = () => listOf<Job>("v1/jobs");
export const requestSteps = (id: string, after: number) => listOf<JobStep>(`v1/jobs/${id}/steps?after=${after}`);

export const requestSamples = (id: string, after: number) => listOf<JobSamples>(`v1/jobs/${id}/samples?after=${after}`);

/** An image by its path on the server. */
export async function fetchImage(path: string): Promise<Blob> {
  return await (await ask(path.slice(1))).blob();
}

export async function submitTraining(fields: Fields): Promise<void> {
  await ask("v1/jobs", { method: "POST", body: formOf({ type: "train", ...fields }) });
}

export async function stopJob(id: string): Promise<void> {
  await ask(`v1/jobs/${id}/cancel`, { method: "POST" });
}

export async function removeJob(id: string): Promise<void> {
  await ask(`v1/jobs/${id}`, { method: "DELETE" });
}

interface FieldSchema {
  maximum: number;
  default: number;
  enum: string[];
}

export async function fetchLimits(): Promise<Limits> {
  const { paths } = await (await ask("openapi.json")).json();
  const [, path] = Object.entries(paths).find(([name]) => name.endsWith("/v1/images/edits"))! as [
    string,
    { post: { requestBody: { content: Record<string, { schema: { properties: Record<string, FieldSchema> } }> } } },
  ];
  const fields = path.post.requestBody.content["application/json"]!.schema.properties;
  return {
    steps: { maximum: fields.num_inference_steps!.maximum, default: fields.num_inference_steps!.default },
    images: fields.n!.maximum,
    previews: fields.partial_images!.maximum,
    schedulers: fields.scheduler!.enum,
    jobs: Object.keys(paths).some((name) => name.endsWith("/v1/jobs")),
  };
}

/** An image that a built-in model knows, and what may be done with it. */
export async function fetchExample(
  kind: "photos" | "world",
  number: number,
): Promise<{ image: Blob; instructions: string[] }> {
  const { b64_json, instructions } = await (await ask(`examples/${kind}/${number}`)).json();
  return { image: blobOf(b64_json, "image/png"), instructions };
}

/** How far a request is. */
export type Progress =
  | { state: "waiting"; position: number; seconds_left: number }
  | { state: "running"; step: number; total_steps: number; seconds_left: number };

export interface RunRequest {
  settings: Settings;
  model: Model;
  /** Undefined for images from text alone. */
  image?: Blob | undefined;
  mask?: Blob | undefined;
  previews: number;
}

export interface RunEvents {
  onProgress(progress: Progress): void;
  onPreview(image: Blob): void;
}

/**
 * Has the server make images.
 *
 * @returns the images, and the seed of their noise
 * @throws `ApiError`; an `AbortError` once the signal fires, at which the server stops, too
 */
export async function requestImages(
  { settings, model, image, mask, previews }: RunRequest,
  { onProgress, onPreview }: RunEvents,
  signal: AbortSignal,
): Promise<{ images: Blob[]; seed: number }> {
  const fields = fieldsOf(settings, model, image !== undefined);
  const stream = { stream: true, progress: true, partial_images: previews };
  const answer = await ask(image ? "v1/images/edits" : "v1/images/generations", {
    ...{ method: "POST", signal },
    body: image ? formOf({ ...fields, ...stream, image, mask }) : jsonOf({ ...fields, ...stream }),
  });
  const images: Blob[] = [];
  let seed = 0;
  for await (const { type, data } of readEvents(answer.body!)) {
    if (type === "error") throw new ApiError(500, (data.error as { message: string }).message);
    else if (type.endsWith(".progress")) onProgress(data as unknown as Progress);
    else {
      const received = blobOf(data.b64_json as string, "image/png");
      if (type.endsWith(".partial_image")) onPreview(received);
      else {
        images.push(received);
        seed = data.seed as number;
      }
    }
  }
  if (images.length === 0) throw new ApiError(500, "the connection ended before the image came");
  return { images, seed };
}

export type Fields = Record<string, string | number | boolean | Blob | object | undefined>;

/** Only what the model takes. */
function fieldsOf(settings: Settings, { instructed }: Model, withImage: boolean): Fields {
  const { model, prompt, n, num_inference_steps, guidance_scale } = settings;
  const loras = Object.entries(settings.loras).map(([name, weight]) => ({ name, weight }));
  return {
    ...{ model, prompt, n, num_inference_steps, guidance_scale },
    negative_prompt: settings.negative_prompt || undefined,
    scheduler: settings.scheduler || undefined,
    seed: settings.randomSeed ? undefined : settings.seed,
    size: settings.size || undefined,
    image_guidance_scale: instructed ? settings.image_guidance_scale : undefined,
    strength: withImage && !instructed ? settings.strength : undefined,
    loras: loras.length > 0 ? loras : undefined,
  };
}

function formOf(fields: Fields): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields))
    if (value instanceof Blob) form.set(name, value, `${name}.png`);
    else if (value !== undefined) form.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  return form;
}

function jsonOf(fields: Fields): Blob {
  return new Blob([JSON.stringify(fields)], { type: "application/json" });
}

function blobOf(base64: string, type: string): Blob {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type });
}
