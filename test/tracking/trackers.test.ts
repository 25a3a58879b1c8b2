import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { RgbImage } from "../../lib/images/rgb-image.js";
import { Secrets } from "../../lib/tracking/secrets.js";
import { createTrackers, type Trackers, type TrackersOptions } from "../../lib/tracking/trackers.js";
import { recordOptions } from "../../lib/training/checkpoint/options.js";
import { WandbServer } from "./wandb-server.js";

const TOKEN = "hf_canaryCANARYcanaryCANARYcanary1234";
const ENV_TOKEN = "canary-of-the-environment";

let out: string;
let server: WandbServer;
let said: string[];

beforeEach(async () => {
  out = mkdtempSync(join(tmpdir(), "ip2p-trackers-"));
  server = new WandbServer();
  await server.listen();
  said = [];
});

afterEach(async () => {
  await server.close();
  rmSync(out, { recursive: true, force: true });
});

const image = new RgbImage(3, 2, new Uint8Array(18).fill(7));

function options(change: Partial<TrackersOptions> = {}): TrackersOptions {
  return {
    outputDir: out,
    secrets: new Secrets([], []),
    warn: (message) => said.push(`warning: ${message}`),
    inform: (message) => said.push(message),
    env: { WANDB_BASE_URL: server.url, WANDB_API_KEY: server.key, HOME: "/nonexistent" },
    timing: { first: 5, interval: 10, heartbeat: 1000, retry: 10, longestRetry: 20, connect: 2000 },
    ...change,
  };
}

/** Every file below a folder, by its path. */
function files(folder = out): Map<string, Buffer> {
  const all = new Map<string, Buffer>();
  for (const name of readdirSync(folder, { recursive: true }) as string[])
    if (statSync(join(folder, name)).isFile()) all.set(name, readFileSync(join(folder, name)));
  return all;
}

async function run(trackers: Trackers, steps: number[]): Promise<void> {
  await trackers.init({ learning_rate: 1e-4 });
  for (const step of steps) await trackers.log({ train_loss: step }, step);
  await trackers.finish({ succeeded: true });
}

describe("--report_to", () => {
  it("tensorboard writes metrics.jsonl and event files", async () => {
    await run(await createTrackers("tensorboard", options()), [1, 2]);
    expect([...files().keys()].sort()).toEqual([
      expect.stringMatching(/^logs\/instruct-pix2pix\/events\.out\.tfevents\./),
      "metrics.jsonl",
    ]);
    expect(server.requests).toEqual([]);
  });

  it("wandb writes metrics.jsonl and sends", async () => {
    const trackers = await createTrackers("wandb", options());
    await run(trackers, [1, 2]);
    expect([...files().keys()]).toEqual(["metrics.jsonl"]);
    expect(server.history()).toMatchObject([{ train_loss: 1 }, { train_loss: 2 }]);
    expect(trackers.states()).toEqual({
      wandb: { id: server.run.name, project: "instruct-pix2pix", entity: "someone" },
    });
  });

  it("all does both, and skips W&B without a key", async () => {
    await run(await createTrackers("all", options({ loggingDir: "events", project: "mine" })), [1]);
    expect([...files().keys()].sort()).toEqual([expect.stringMatching(/^events\/mine\/events/), "metrics.jsonl"]);
    expect(server.run.project).toBe("mine");
    said = [];
    await run(await createTrackers("all", options({ env: { WANDB_BASE_URL: server.url, HOME: "/nonexistent" } })), [1]);
    expect(said).toEqual(["W&B: not used, since no key is set"]);
    expect(server.runs.size).toBe(1);
  });

  it("none writes metrics.jsonl alone", async () => {
    const trackers = await createTrackers("none", options());
    await run(trackers, [1, 2, 3]);
    expect([...files().keys()]).toEqual(["metrics.jsonl"]);
    expect(trackers.states()).toEqual({});
  });

  it.each([
    ["comet_ml", "report_to: comet_ml is not supported; it can be tensorboard, wandb, all, none"],
    ["mlflow", "report_to: mlflow is not supported; it can be tensorboard, wandb, all, none"],
    ["tensorbord", 'report_to: unknown tracker "tensorbord"; it can be tensorboard, wandb, all, none'],
  ])("%s is refused by name", async (name, message) => {
    const error = await createTrackers(name, options()).catch((reason: unknown) => reason);
    expect(isInstructPix2PixError(error, "ERR_INVALID_ARGUMENT")).toBe(true);
    expect((error as Error).message).toBe(message);
  });
});

it("a resumed run continues all of its records", async () => {
  const first = await createTrackers("all", options());
  await run(first, [1, 2, 3, 4, 5]);
  const states = JSON.parse(JSON.stringify(first.states()));
  await run(await createTrackers("all", options({ resume: { step: 3, states } })), [4, 5, 6]);
  const steps = files()
    .get("metrics.jsonl")!
    .toString()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).step);
  expect(steps).toEqual([1, 2, 3, 4, 5, 6]);
  expect(server.history().map(({ _step }) => _step)).toEqual([1, 2, 3, 4, 5, 6]);
  expect([...files().keys()].filter((name) => name.includes("tfevents"))).toHaveLength(2);
});

describe("a tracker that fails", () => {
  it("at its start: nothing is left open, and the error is the tracker's", async () => {
    writeFileSync(join(out, "logs"), "a file");
    const trackers = await createTrackers("tensorboard", options());
    const error = await trackers.init({}).catch((reason: unknown) => reason);
    expect(isInstructPix2PixError(error, "ERR_IO"), String(error)).toBe(true);
  });

  it("later: it is reported once and counted, and the run continues", async () => {
    const trackers = await createTrackers("tensorboard", options());
    await trackers.init({});
    const broken = {
      get width(): number {
        throw new Error(`cannot be encoded: ${TOKEN}`);
      },
    } as unknown as RgbImage;
    for (let i = 0; i < 3; i++) await trackers.images("validation", [{ image: broken }], 1);
    await trackers.log({ train_loss: 1 }, 1);
    await trackers.finish({ succeeded: true });
    expect(said).toEqual([
      "warning: tensorboard: cannot be encoded: ***; the run goes on",
      "warning: tensorboard: 3 calls failed in all",
    ]);
    expect(files().get("metrics.jsonl")!.toString()).toBe('{"step":1,"train_loss":1}\n');
  });
});

describe("a secret", () => {
  const declarations = {
    hub_token: { type: "string", secret: true },
    hub_model_id: { type: "string" },
    output_dir: { type: "string" },
    val_image_url: { type: "string" },
  } as const;

  it.each(["online", "offline"])("reaches no file and no request from any setting (W&B %s)", async (mode) => {
    const values = {
      hubToken: TOKEN,
      hubModelId: `me/${TOKEN}`,
      outputDir: `/tmp/${ENV_TOKEN}`,
      valImageUrl: `https://user:${ENV_TOKEN}@host/a.png`,
    };
    const env = {
      WANDB_BASE_URL: server.url,
      WANDB_API_KEY: server.key,
      WANDB_MODE: mode,
      HF_TOKEN: ENV_TOKEN,
      HOME: "/nonexistent",
    };
    const trackers = await createTrackers("all", options({ env, secrets: Secrets.of(values, declarations, env) }));
    await trackers.init({ ...recordOptions(values, declarations), hub_token: TOKEN, leak: server.key });
    await trackers.log({ train_loss: 1, note: `with ${TOKEN}`, [ENV_TOKEN]: 1 }, 1);
    await trackers.images(`validation ${ENV_TOKEN}`, [{ image, caption: `say ${TOKEN} ${server.key}` }], 1);
    server.fault = () => ({ status: 500, body: TOKEN });
    await trackers.log({ train_loss: 2 }, 2);
    await new Promise((resolve) => setTimeout(resolve, 50));
    server.fault = () => undefined;
    await trackers.finish({ succeeded: true });

    const canaries = [TOKEN, ENV_TOKEN, server.key].flatMap((text) => [text, encodeURIComponent(text)]);
    for (const [name, content] of files())
      for (const canary of canaries) {
        expect(content.includes(canary), `${canary} in ${name}`).toBe(false);
        expect(name).not.toContain(canary);
      }
    for (const { path, headers, body } of server.requests) {
      const authorised = headers.authorization === `Basic ${Buffer.from(`api:${server.key}`).toString("base64")}`;
      expect(authorised || headers.authorization === undefined).toBe(true);
      const rest = `${path} ${JSON.stringify({ ...headers, authorization: undefined })} ${body}`;
      for (const canary of canaries) expect(rest).not.toContain(canary);
    }
    for (const canary of canaries) expect(said.join()).not.toContain(canary);
    expect(JSON.stringify(trackers.states())).not.toMatch(/canary/i);
    // The test would notice: all that was logged is there otherwise.
    const everything =
      Buffer.concat([...files().values()]).toString("latin1") + server.requests.map(({ body }) => body).join();
    expect(everything).toContain("with ***");
    expect(everything).toContain("say *** ***");
    expect(everything).toContain("me/***");
  });
});
