import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { builtInModel, InstructPix2PixPipeline, loadImage } from "../../lib/index.js";
import { native } from "../../lib/runtime/native.js";
import { createServer, type ImageServer, type ServerOptions } from "../../lib/server/index.js";
import type { JobView } from "../../lib/server/jobs/view.js";
import { fixture } from "../helpers/fixtures.js";

const picture = readFileSync(fixture("built-in", "picture.png"));
const EDIT = {
  ...{ type: "edit", prompt: "change the background to peach", image: picture.toString("base64") },
  ...{ seed: 3, num_inference_steps: 3 },
};

let pipe: InstructPix2PixPipeline;
let folder = "";
let server: ImageServer;
let url = "";
beforeAll(async () => {
  await native().setThreads(1);
  pipe = await InstructPix2PixPipeline.fromPretrained(builtInModel, { device: "cpu" });
});
afterAll(() => pipe.dispose());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-jobs-"));
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

async function start(options: ServerOptions = {}): Promise<void> {
  server = await createServer({ models: { edit: pipe }, port: 0, logLevel: "silent", jobsDir: folder, ...options });
  url = await server.listen();
}

type Answer = JobView & { data: JobView[]; error: { param?: string } };

async function ask(path: string, method = "GET", body?: object, key?: string) {
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: { ...(body && { "content-type": "application/json" }), ...(key && { authorization: `Bearer ${key}` }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Answer };
}

async function until(id: string, condition: (job: JobView) => boolean, key?: string): Promise<JobView> {
  for (const end = performance.now() + 280_000; ; await delay(10)) {
    const job = (await ask(`/v1/jobs/${id}`, "GET", undefined, key)).body as JobView;
    if (condition(job)) return job;
    if (performance.now() > end) throw new Error(`it did not come: ${JSON.stringify(job)}`);
  }
}
const over = ({ state }: JobView) => state !== "queued" && state !== "running";

async function expected(numInferenceSteps = 3): Promise<Buffer> {
  const { images } = await pipe.run({ image: picture, prompt: EDIT.prompt, seed: 3, numInferenceSteps });
  return Buffer.from(images[0]!.data);
}
async function result(path: string): Promise<Buffer> {
  return Buffer.from((await loadImage(Buffer.from(await (await fetch(`${url}${path}`)).arrayBuffer()))).data);
}

it("computes a job, tells of it by events with previews, and keeps its image until it is removed", async () => {
  await start();
  const { status, headers, body: job } = await ask("/v1/jobs", "POST", { ...EDIT, partial_images: 2, n: 2 });
  expect(status).toBe(202);
  expect(headers.get("location")).toBe(`/v1/jobs/${job.id}`);
  const events = await (await fetch(`${url}/v1/jobs/${job.id}/events`)).text();
  const told = events
    .split("\n\n")
    .filter(Boolean)
    .map((text) => JSON.parse(text.split("data: ")[1]!));
  const states = told.filter(({ type }) => type === "job").map((event) => event.job as JobView);
  expect(states.at(-1)).toMatchObject({ state: "succeeded", seed: 3, error: null, attempts: 1 });
  expect(
    states.some(({ step, total_steps, seconds_left }) => step === 2 && total_steps === 3 && seconds_left !== null),
  ).toBe(true);
  const done = (await ask(`/v1/jobs/${job.id}`)).body as JobView;
  expect(done.results).toHaveLength(2);
  expect(await result(done.results[0]!)).toEqual(await expected());
  expect((await ask("/v1/jobs")).body.data).toEqual([done]);
  expect((await ask(`/v1/jobs/${job.id}`, "DELETE")).status).toBe(200);
  expect((await ask(`/v1/jobs/${job.id}`)).status).toBe(404);
  expect(readdirSync(folder).filter((name) => name.includes(job.id))).toEqual([]);
});

it("goes on after a restart with what was not over, and keeps what was", async () => {
  await start({ concurrency: 1, grace: 0 });
  const first = (await ask("/v1/jobs", "POST", EDIT)).body as JobView;
  await until(first.id, over);
  const long = (await ask("/v1/jobs", "POST", { ...EDIT, num_inference_steps: 60 })).body as JobView;
  const waiting = (await ask("/v1/jobs", "POST", EDIT)).body as JobView;
  const running = await until(long.id, ({ step }) => (step ?? 0) > 1);
  expect(running).toMatchObject({ state: "running", total_steps: 60 });
  expect(await until(waiting.id, ({ position }) => position === 0)).toMatchObject({ state: "queued" });
  await expect(createServer({ models: { edit: pipe }, port: 0, jobsDir: folder })).rejects.toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringContaining("another server"),
  });
  await server.close();
  const record = () => JSON.parse(readFileSync(join(folder, long.id, "job.json"), "utf8"));
  expect(record()).toMatchObject({ state: "running", attempts: 1 });
  await start();
  expect((await ask(`/v1/jobs/${first.id}`)).body).toMatchObject({ state: "succeeded" });
  expect(await until(long.id, over)).toMatchObject({ state: "succeeded", attempts: 2 });
  const again = await until(waiting.id, over);
  expect(again).toMatchObject({ state: "succeeded" });
  expect(await result(again.results[0]!)).toEqual(await expected());
  // One that ended the server again and again is given up.
  await server.close();
  writeFileSync(join(folder, long.id, "job.json"), JSON.stringify({ ...record(), state: "running", attempts: 3 }));
  await start();
  expect((await ask(`/v1/jobs/${long.id}`)).body).toMatchObject({
    state: "failed",
    error: { code: "ERR_INTERRUPTED" },
  });
});

it("cancels jobs that wait and that run", async () => {
  await start({ concurrency: 1 });
  const running = (await ask("/v1/jobs", "POST", { ...EDIT, num_inference_steps: 100 })).body as JobView;
  const waiting = (await ask("/v1/jobs", "POST", { ...EDIT, num_inference_steps: 100 })).body as JobView;
  await until(running.id, ({ step }) => (step ?? 0) > 1);
  expect((await ask(`/v1/jobs/${running.id}`, "DELETE")).status).toBe(409);
  expect((await ask(`/v1/jobs/${waiting.id}/cancel`, "POST")).body).toMatchObject({ state: "cancelled" });
  await ask(`/v1/jobs/${running.id}/cancel`, "POST");
  expect(await until(running.id, over)).toMatchObject({ state: "cancelled", results: [] });
});

it("shows jobs to their clients only, bounds them, and says what is wrong with one", async () => {
  const keys = join(folder, "keys");
  writeFileSync(keys, "0123456789abcdef\nfedcba9876543210\n");
  await start({ apiKeysFile: keys, maxJobs: 1, concurrency: 1 });
  const [one, other] = ["0123456789abcdef", "fedcba9876543210"];
  const job = (await ask("/v1/jobs", "POST", { ...EDIT, num_inference_steps: 100 }, one)).body as JobView;
  expect((await ask(`/v1/jobs/${job.id}`, "GET", undefined, other)).status).toBe(404);
  expect((await ask(`/v1/jobs/${job.id}/cancel`, "POST", undefined, other)).status).toBe(404);
  expect((await ask("/v1/jobs", "GET", undefined, other)).body.data).toEqual([]);
  expect((await ask("/v1/jobs", "GET")).status).toBe(401);
  const full = await ask("/v1/jobs", "POST", EDIT, other);
  expect([full.status, full.headers.get("retry-after")]).toEqual([429, "60"]);
  await ask(`/v1/jobs/${job.id}/cancel`, "POST", undefined, one);
  await until(job.id, over, one);
  for (const [body, status, param] of [
    [{ ...EDIT, prompt: undefined }, 400, "prompt"],
    [{ ...EDIT, model: "absent" }, 404, "model"],
    [{ ...EDIT, image: undefined }, 400, "image"],
    [{ type: "train", dataset: "pairs" }, 400, "type"], // no train_dir
    [{ type: "train", dataset: "../pairs" }, 400, "dataset"],
    [{ type: "train", dataset: "pairs", image: EDIT.image }, 400, "validation_prompt"],
    [{ type: "train", dataset: "pairs", validation_prompt: "make it night" }, 400, "image"],
    [{ type: "train", dataset: "pairs", validation_prompt: "a", image: EDIT.image, mask: EDIT.image }, 400, "mask"],
    [{ type: "other" }, 400, "type"],
  ] as const) {
    const answer = await ask("/v1/jobs", "POST", body, one);
    expect([answer.status, answer.body.error.param]).toEqual([status, param]);
  }
  for (const path of [
    "/v1/jobs/..%2f..%2fetc",
    `/v1/jobs/${job.id}/results/..%2fjob.json`,
    `/v1/jobs/${job.id}/results/0`,
    `/v1/jobs/${job.id}/samples/1/0`,
  ])
    expect((await ask(path, "GET", undefined, one)).status).toBe(404);
});
