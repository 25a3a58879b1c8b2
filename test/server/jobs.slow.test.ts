import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { loadImage } from "../../lib/images/index.js";
import { builtInModel } from "../../lib/models/built-in.js";
import type { JobRecord } from "../../lib/server/jobs/job.js";
import { isRunning } from "../../lib/server/jobs/training.js";
import type { JobView } from "../../lib/server/jobs/view.js";
import { ServerProcess } from "../examples/server-process.mjs";
import { fixture } from "../helpers/fixtures.js";
import { endTraining } from "./end-training.js";

const TRAIN = {
  ...{ type: "train", dataset: "dataset", resolution: 32, train_batch_size: 2, learning_rate: 1e-3, seed: 3 },
  ...{ max_train_steps: 300, checkpointing_steps: 3, conditioning_dropout_prob: 0.2, lr_scheduler: "cosine" },
};
const EDIT = {
  ...{ type: "edit", model: "tiny", prompt: "change the background to peach", seed: 3, num_inference_steps: 400 },
  image: readFileSync(fixture("built-in", "picture.png")).toString("base64"),
};
/** Samples at the end, and after the first epoch as in diffusers. */
const SAMPLED = {
  ...{ validation_prompt: "-- make it night", image: EDIT.image, num_validation_images: 2, validation_epochs: 1000 },
};

let folder = "";
let server: ServerProcess;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-jobs-"));
});
afterEach(async () => {
  await server.stop();
  await endTraining(folder);
  rmSync(folder, { recursive: true, force: true });
});

async function start(env: Record<string, string> = {}): Promise<void> {
  const flags = {
    ...{ model: `base=${fixture("script-full", "base")}`, "jobs-dir": folder, "train-dir": fixture("script-full") },
    ...{ "max-steps": 1000, concurrency: 1 },
  };
  server = await ServerProcess.start(flags, env);
}
async function ask(path: string, method = "GET", body?: object) {
  const headers: Record<string, string> = body ? { "content-type": "application/json" } : {};
  const answer = await fetch(`${server.url}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  return (await answer.json()) as JobView & { data: { step: number }[] };
}
async function bytes(path: string): Promise<Buffer> {
  return Buffer.from(await (await fetch(`${server.url}${path}`)).arrayBuffer());
}
async function until(id: string, condition: (job: JobView) => boolean): Promise<JobView> {
  for (const end = performance.now() + 240_000; ; await delay(50)) {
    const job = await ask(`/v1/jobs/${id}`);
    if (condition(job)) return job;
    if (performance.now() > end || job.state === "failed") throw new Error(JSON.stringify(job));
  }
}
const record = (id: string) => JSON.parse(readFileSync(join(folder, id, "job.json"), "utf8")) as JobRecord;
/** The training process of a job, once it is noted; after a failure another than before. */
async function trainer(id: string, before?: number): Promise<number> {
  for (;;) {
    const pid = record(id).process?.pid;
    if (pid !== undefined && pid !== before) return pid;
    await delay(20);
  }
}
const succeeded = ({ state }: JobView) => state === "succeeded";
const weights = (id: string) =>
  createHash("sha256")
    .update(readFileSync(join(folder, id, "model", "unet", "diffusion_pytorch_model.safetensors")))
    .digest("hex");

it("trains through kill -9 of the training process and of the server, to the same weights", async () => {
  await start();
  const { id } = await ask("/v1/jobs", "POST", TRAIN);
  await until(id, ({ step }) => (step ?? 0) >= 4);
  const first = await trainer(id);
  process.kill(first, "SIGKILL");
  await until(id, ({ attempts, step }) => attempts === 2 && (step ?? 0) >= 7);
  const second = await trainer(id, first);

  // The server is killed: training goes on, and the next server finds it.
  server.signal("SIGKILL");
  await server.exit;
  process.kill(second, 0);
  await start();
  expect(await until(id, ({ step }) => (step ?? 0) >= 9)).toMatchObject({ attempts: 2, total_steps: 300 });

  // Both are killed: the next server goes on from the checkpoint.
  server.signal("SIGKILL");
  process.kill(record(id).process!.pid, "SIGKILL");
  await server.exit;
  await start();
  const done = await until(id, succeeded);
  expect(done).toMatchObject({ model: `${id}/model` });
  const { data: steps } = await ask(`/v1/jobs/${id}/steps?after=290`);
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 10 }, (_, i) => i + 291));

  const other = await ask("/v1/jobs", "POST", TRAIN);
  await until(other.id, succeeded);
  expect(weights(id)).toBe(weights(other.id));
}, 600_000);

it("cancels training, and computes an edit again that a killed server had begun", async () => {
  server = await ServerProcess.start({ model: `tiny=${builtInModel}`, "jobs-dir": folder, "max-steps": 1000 });
  const edit = await ask("/v1/jobs", "POST", EDIT);
  await until(edit.id, ({ step }) => (step ?? 0) > 1);
  server.signal("SIGKILL");
  await server.exit;
  server = await ServerProcess.start({ model: `tiny=${builtInModel}`, "jobs-dir": folder, "max-steps": 1000 });
  expect(await until(edit.id, succeeded)).toMatchObject({ attempts: 2, seed: 3 });
  await server.stop();

  await start();
  const { id } = await ask("/v1/jobs", "POST", { ...TRAIN, max_train_steps: 1000 });
  await until(id, ({ step }) => (step ?? 0) >= 2);
  const { pid } = record(id).process!;
  await ask(`/v1/jobs/${id}/cancel`, "POST");
  await until(id, ({ state }) => state === "cancelled");
  expect(() => process.kill(pid, 0)).toThrow();
}, 600_000);

it("cancels training at any moment of its start, and leaves no process behind", async () => {
  await start();
  for (let round = 0; round < 12; round++) {
    const { id } = await ask("/v1/jobs", "POST", { ...TRAIN, max_train_steps: 1000 });
    // From before the process exists until it loads its model.
    await delay(round === 0 ? 0 : 12 * 1.6 ** round);
    const { state } = await ask(`/v1/jobs/${id}/cancel`, "POST");
    expect(["running", "cancelled"]).toContain(state);
    expect(await until(id, (job) => job.state !== "running")).toMatchObject({ state: "cancelled", error: null });
    const left = record(id).process;
    if (left) expect(await isRunning(left)).toBe(false);
  }
  // The place of those that were cancelled is free.
  const { id } = await ask("/v1/jobs", "POST", { ...TRAIN, max_train_steps: 4 });
  await until(id, succeeded);
}, 600_000);

/** Begins a training job, and kills the server once it has started its process. @returns that process */
async function dieAfterSpawn(how: "run" | "stop"): Promise<number> {
  const file = join(folder, "pid");
  const preload = `--import ${new URL("die-after-spawn.mjs", import.meta.url).href}`;
  await start({ NODE_OPTIONS: preload, DIE_AFTER_SPAWN: how, DIE_PID_FILE: file });
  // Its answer may not come any more.
  await ask("/v1/jobs", "POST", { ...TRAIN, ...SAMPLED, max_train_steps: 40, checkpointing_steps: 40 }).catch(() => {});
  expect(await server.exit).toBe("SIGKILL");
  return Number(readFileSync(file, "utf8"));
}
const onlyJob = () => readdirSync(folder).find((name) => existsSync(join(folder, name, "job.json")))!;

it("finds the process of a server that was killed before it noted which", async () => {
  const pid = await dieAfterSpawn("run");
  const id = onlyJob();
  expect(record(id)).toMatchObject({ state: "running", attempts: 1 });
  expect(record(id).process).toBeUndefined();
  await expect.poll(() => readdirSync(join(folder, id)).join(), { timeout: 60_000 }).toContain(`start-1.taken-${pid}-`);
  await start();
  expect(record(id).process!.pid).toBe(pid);
  expect(await until(id, succeeded)).toMatchObject({ attempts: 1, step: 40, sampled_step: 40 });
  const images = [0, 1].map((i) => `/v1/jobs/${id}/samples/40/${i}`);
  expect((await ask(`/v1/jobs/${id}/samples`)).data.at(-1)).toEqual({ step: 40, images });
  expect(await ask(`/v1/jobs/${id}/samples?after=40`)).toEqual({ object: "list", data: [] });
  const [one, other] = await Promise.all(images.map(async (path) => await loadImage(await bytes(path))));
  expect([one!.width, one!.height]).toEqual([64, 64]);
  expect(Buffer.from(one!.data).equals(Buffer.from(other!.data))).toBe(false); // of another seed
  for (const path of ["41/0", "40/2", "40/..%2f0", "x/0"])
    expect((await fetch(`${server.url}/v1/jobs/${id}/samples/${path}`)).status).toBe(404);
}, 300_000);

it("keeps a process from training that begins after the next server has given it up", async () => {
  const late = await dieAfterSpawn("stop");
  const id = onlyJob();
  await start();
  await until(id, ({ step }) => (step ?? 0) >= 1);
  expect(record(id)).toMatchObject({ attempts: 2 });
  expect(record(id).process!.pid).not.toBe(late);
  process.kill(late, "SIGCONT");
  await expect.poll(() => isRunning({ pid: late, started: undefined }), { timeout: 240_000 }).toBe(false);
  expect(await until(id, succeeded)).toMatchObject({ attempts: 2, step: 40 });
}, 300_000);
