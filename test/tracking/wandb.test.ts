import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { RgbImage } from "../../lib/images/rgb-image.js";
import { Secrets } from "../../lib/tracking/secrets.js";
import { parseNetrc } from "../../lib/tracking/wandb/netrc.js";
import { WandbTracker } from "../../lib/tracking/wandb/wandb-tracker.js";
import { WandbServer } from "./wandb-server.js";

let server: WandbServer;
let warnings: string[];
let notes: string[];

beforeEach(async () => {
  server = new WandbServer();
  await server.listen();
  warnings = [];
  notes = [];
});

afterEach(async () => {
  await server.close();
  expect(server.violations).toEqual([]);
});

const QUICK = { first: 5, interval: 10, heartbeat: 40, retry: 10, longestRetry: 40, connect: 2000 };

function tracker(
  saved?: Record<string, string>,
  env: Record<string, string | undefined> = {},
  timing = QUICK,
): WandbTracker {
  return new WandbTracker({
    project: "instruct-pix2pix",
    folder: "/nonexistent",
    saved,
    secrets: new Secrets([], []),
    warn: (message) => warnings.push(message),
    inform: (message) => notes.push(message),
    env: { WANDB_BASE_URL: server.url, WANDB_API_KEY: server.key, HOME: "/nonexistent", ...env },
    timing,
  });
}

const image = (seed: number) =>
  new RgbImage(
    3,
    2,
    Uint8Array.from({ length: 18 }, (_, i) => (i * seed) % 256),
  );

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await sleep(10);
  expect(condition()).toBe(true);
}

async function refusal(run: WandbTracker): Promise<string> {
  const error = await run.init({}).catch((reason: unknown) => reason);
  expect(isInstructPix2PixError(error, "ERR_CONFIG"), String(error)).toBe(true);
  return (error as Error).message;
}

describe("a run on a W&B server", () => {
  it("has its options, its history, its summary and its end", async () => {
    const run = tracker();
    await run.init({ learning_rate: 5e-5, use_ema: true, revision: null });
    expect(notes).toEqual([
      expect.stringMatching(
        new RegExp(`^W&B: lively-sunset-1 at ${server.url}/someone/instruct-pix2pix/runs/[a-z0-9]{8}$`),
      ),
    ]);
    for (let step = 1; step <= 20; step++) await run.log({ train_loss: 1 / step, skipped: false }, step);
    await run.log({ train_loss: Number.NaN, grad_norm: Number.NEGATIVE_INFINITY, note: "NaN" }, 21);
    await run.finish({ succeeded: true });
    const { config, exitCode, complete, entity, project, name } = server.run;
    expect(config).toMatchObject({
      learning_rate: { value: 5e-5 },
      use_ema: { value: true },
      revision: { value: null },
    });
    expect({ complete, exitCode, entity, project }).toEqual({
      complete: true,
      exitCode: 0,
      entity: "someone",
      project: "instruct-pix2pix",
    });
    const history = server.history();
    expect(history.map(({ _step }) => _step)).toEqual(Array.from({ length: 21 }, (_, i) => i + 1));
    expect(history[1]).toMatchObject({ train_loss: 0.5, skipped: false });
    expect(history[1]!._timestamp).toBeCloseTo(Date.now() / 1000, -2);
    expect(history[1]!._runtime).toBeGreaterThanOrEqual(0);
    expect(server.run.files.get("wandb-history.jsonl")!.at(-1)).toMatch(
      /"train_loss":NaN,"grad_norm":-Infinity,"note":"NaN"/,
    );
    expect(server.summary()).toMatchObject({ _step: 21, skipped: false, train_loss: "NaN" });
    expect(run.state()).toEqual({ id: name, project: "instruct-pix2pix", entity: "someone" });
    expect(warnings).toEqual([]);
  });

  it("ends as failed if it did not succeed", async () => {
    const run = tracker();
    await run.init({});
    await run.finish({ succeeded: false });
    expect(server.run).toMatchObject({ complete: true, exitCode: 1 });
  });

  it("has images in the row of their step, with captions", async () => {
    const run = tracker();
    await run.init({});
    await run.log({ train_loss: 1 }, 5);
    await run.images("validation", [{ image: image(3), caption: "make it winter" }, { image: image(5) }], 5);
    await run.log({ train_loss: 2 }, 6);
    await run.images("only images/here", [{ image: image(7) }], 9);
    await run.finish({ succeeded: true });
    const [first, second, third] = server.history();
    expect(first).toMatchObject({
      _step: 5,
      train_loss: 1,
      validation: {
        _type: "images/separated",
        width: 3,
        height: 2,
        format: "png",
        count: 2,
        captions: ["make it winter", ""],
      },
    });
    expect(second).toMatchObject({ _step: 6, train_loss: 2 });
    const { filenames } = first!.validation as { filenames: string[] };
    expect(filenames[0]).toMatch(/^media\/images\/validation_5_[0-9a-f]{20}\.png$/);
    expect(third!["only images/here"]).toMatchObject({
      filenames: [expect.stringMatching(/^media\/images\/only_images_here_9_/)],
    });
    expect(server.run.uploads.size).toBe(3);
    expect(server.run.uploaded).toEqual([...server.run.uploads.keys()]);
    expect((await RgbImage.load(server.run.uploads.get(filenames[1]!)!)).equals(image(5))).toBe(true);
    // The key stays with the server; a storage address is permission enough.
    const uploads = server.requests.filter(({ method }) => method === "PUT");
    for (const { headers } of uploads) expect(headers["x-storage"]).toBe("yes");
  });

  it("takes its names from the environment", async () => {
    const run = tracker(undefined, {
      WANDB_PROJECT: "my project",
      WANDB_ENTITY: "team/ä",
      WANDB_NAME: "first",
      WANDB_RUN_ID: "my-id",
      WANDB_RUN_GROUP: "g",
      WANDB_JOB_TYPE: "j",
      WANDB_NOTES: "n",
      WANDB_TAGS: "a, b,,",
    });
    await run.init({});
    await run.log({ x: 1 }, 1);
    await run.finish({ succeeded: true });
    expect(server.run).toMatchObject({ project: "my project", entity: "team/ä", name: "my-id", displayName: "first" });
    expect(server.run.fields).toMatchObject({ groupName: "g", jobType: "j", notes: "n", tags: ["a", "b"] });
    expect(server.history()).toHaveLength(1);
    expect(notes[0]).toMatch(/\/team%2F%C3%A4\/my%20project\/runs\/my-id$/);
  });

  it("sends heartbeats while nothing happens", async () => {
    const run = tracker();
    await run.init({});
    await until(() => server.run.heartbeats >= 2);
    await run.finish({ succeeded: true });
  });
});

describe("a run that is resumed", () => {
  it("continues the same W&B run, without repeating steps", async () => {
    const first = tracker();
    await first.init({});
    for (let step = 1; step <= 8; step++) await first.log({ train_loss: step, early: 1 }, step);
    await first.images("validation", [{ image: image(3) }], 8);
    await first.finish({ succeeded: false });
    // The last checkpoint was made at step 5.
    const second = tracker(first.state());
    await second.init({});
    for (let step = 6; step <= 12; step++) {
      await second.log({ train_loss: step }, step);
      if (step === 7) await second.images("validation", [{ image: image(4) }], step);
    }
    await second.finish({ succeeded: true });
    expect(server.history().map(({ _step }) => _step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(server.run).toMatchObject({ starts: 2, complete: true, exitCode: 0 });
    expect(server.run.fields.id).toBe("b");
    expect(server.run.uploads.size).toBe(1);
    expect(server.summary()).toMatchObject({ train_loss: 12, early: 1, validation: { count: 1 }, _step: 12 });
    const runtimes = server.history().map(({ _runtime }) => _runtime as number);
    expect([...runtimes].sort((a, b) => a - b)).toEqual(runtimes);
  });

  it("does so too if the server is unreachable when it starts", async () => {
    const first = tracker();
    await first.init({});
    for (let step = 1; step <= 4; step++) await first.log({ x: step }, step);
    await first.finish({ succeeded: true });
    let away = true;
    server.fault = () => (away ? "reset" : undefined);
    const second = tracker(first.state());
    await second.init({});
    for (let step = 3; step <= 6; step++) await second.log({ x: step }, step);
    await sleep(50);
    away = false;
    await second.finish({ succeeded: true });
    expect(server.history().map(({ x }) => x)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("starts the W&B run if the server does not know it", async () => {
    const run = tracker({ id: "gone", project: "instruct-pix2pix", entity: "someone" });
    await run.init({});
    await run.log({ x: 1 }, 7);
    await run.finish({ succeeded: true });
    expect(server.run.name).toBe("gone");
    expect(server.history()).toMatchObject([{ _step: 7 }]);
  });

  it("handles numbers that JSON does not have", async () => {
    const first = tracker();
    await first.init({});
    await first.log({ x: Number.NaN }, 3);
    await first.finish({ succeeded: true });
    const second = tracker(first.state());
    await second.init({});
    for (const step of [3, 4]) await second.log({ x: step }, step);
    await second.finish({ succeeded: true });
    expect(server.history().map(({ _step }) => _step)).toEqual([3, 4]);
  });
});

describe("a server that cannot be reached does not stop a run", () => {
  it.each([
    ["a connection that breaks", "reset"],
    ["a server that answers 500", { status: 500 }],
    ["too many requests", { status: 429, headers: { "retry-after": "0.01" } }],
    ["a proxy's page", { status: 200, body: "<html>" }],
    ["an answer that is lost on its way", "lose answer"],
  ] as const)("%s: reported once, and retried until each line has arrived once", async (_, fault) => {
    let state = 1;
    server.fault = ({ method }) => {
      state = (state * 48271) % 0x7fffffff;
      // From a storage service a success status suffices, with any body.
      return state % 5 < 3 && !(method === "PUT" && "body" in Object(fault)) ? fault : undefined;
    };
    const run = tracker();
    await run.init({});
    for (let step = 1; step <= 30; step++) {
      await run.log({ x: step }, step);
      await sleep(2);
    }
    await run.images("validation", [{ image: image(3) }], 30);
    await run.finish({ succeeded: true });
    expect(server.history().map(({ x }) => x)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect(server.run).toMatchObject({ complete: true });
    expect(server.run.uploads.size).toBe(1);
    expect(warnings).toEqual([
      expect.stringMatching(/^W&B: .*; the run goes on, and its data are sent when the server is reachable again$/),
    ]);
  });

  it("unreachable for good: the run ends in time, and reports what was not sent", async () => {
    const run = tracker();
    await run.init({});
    await run.log({ x: 1 }, 1);
    server.fault = () => "reset";
    for (let step = 2; step <= 10; step++) await run.log({ x: step }, step);
    await run.images("validation", [{ image: image(3) }], 10);
    await run.finish({ succeeded: true, timeoutMs: 300 });
    expect(warnings.at(-1)).toMatch(/^W&B: \d+ steps and 1 images did not reach the server; metrics\.jsonl/);
  });

  it("silent for good: neither the start nor the end blocks", async () => {
    server.fault = () => "hang";
    const run = tracker(undefined, {}, { ...QUICK, connect: 100 });
    await run.init({});
    await run.log({ x: 1 }, 1);
    await run.finish({ succeeded: true, timeoutMs: 100 });
    expect(warnings).toHaveLength(2);
    expect(warnings[1]).toMatch(/1 steps and 0 images/);
  });

  it("refusing in the middle: it is reported once, and no more requests follow", async () => {
    const run = tracker();
    await run.init({});
    server.fault = ({ path }) =>
      path.endsWith("file_stream") ? { status: 403, body: '{"error":"quota\\nexceeded"}' } : undefined;
    for (let step = 1; step <= 5; step++) await run.log({ x: step }, step);
    await until(() => warnings.length > 0);
    expect(warnings).toEqual([
      expect.stringMatching(/answered 403 \(quota exceeded\); the run goes on, and nothing more is sent$/),
    ]);
    const count = server.requests.length;
    for (let step = 6; step <= 9; step++) await run.log({ x: step }, step);
    await sleep(50);
    await run.finish({ succeeded: true });
    expect(server.requests.length).toBe(count);
    expect(warnings.at(-1)).toMatch(/^W&B: 9 steps/);
  });

  it("refusing one image: everything else is sent", async () => {
    server.fault = ({ method }) => (method === "PUT" ? { status: 403 } : undefined);
    const run = tracker();
    await run.init({});
    await run.images("validation", [{ image: image(3) }], 1);
    await run.log({ x: 2 }, 2);
    await run.finish({ succeeded: true });
    expect(server.history()).toHaveLength(2);
    expect(server.run.complete).toBe(true);
    expect(warnings).toEqual([expect.stringMatching(/^W&B: 0 steps and 1 images/)]);
  });
});

describe("invalid settings are found before a run starts", () => {
  it("no key", async () => {
    expect(await refusal(tracker(undefined, { WANDB_API_KEY: undefined }))).toMatch(
      /no W&B key is set; set WANDB_API_KEY/,
    );
  });

  it("a wrong key, which is not shown", async () => {
    const message = await refusal(tracker(undefined, { WANDB_API_KEY: "wrong-key-canary" }));
    expect(message).toMatch(/^W&B: 127\.0\.0\.1:\d+ answered 401 \(user is not logged in\)$/);
    expect(message).not.toContain("canary");
  });

  it.each([
    [{ WANDB_MODE: "sometimes" }, /WANDB_MODE is "sometimes"/],
    [{ WANDB_BASE_URL: "ftp://host" }, /WANDB_BASE_URL is not the address/],
    [{ WANDB_BASE_URL: "nonsense" }, /WANDB_BASE_URL is not the address/],
    [{ WANDB_BASE_URL: "http://host/?" }, /WANDB_BASE_URL is not the address/],
    [
      { WANDB_BASE_URL: "http://user:canary@host" },
      /^WANDB_BASE_URL holds a password; put the key into WANDB_API_KEY$/,
    ],
    [{ WANDB_RUN_ID: "a/b" }, /"a\/b" cannot be the id/],
  ])("%j", async (env, message) => {
    expect(await refusal(tracker(undefined, env))).toMatch(message);
    expect(server.requests).toEqual([]);
  });

  it("a server that redirects", async () => {
    server.fault = () => ({ status: 302, headers: { location: "http://127.0.0.1:1/" } });
    expect(await refusal(tracker())).toMatch(/redirects elsewhere; is WANDB_BASE_URL right/);
  });
});

it.each<Record<string, string>>([{ WANDB_MODE: "disabled" }, { WANDB_DISABLED: "true" }])(
  "with %j nothing is sent",
  async (env) => {
    const run = tracker(undefined, { ...env, WANDB_API_KEY: undefined });
    await run.init({});
    await run.log({ x: 1 }, 1);
    await run.images("validation", [{ image: image(3) }], 1);
    await run.finish({ succeeded: true });
    expect(server.requests).toEqual([]);
    expect(run.state()).toBeUndefined();
  },
);

describe("the key that `wandb login` saved", () => {
  it("is found in the netrc", async () => {
    const home = mkdtempSync(join(tmpdir(), "ip2p-netrc-"));
    try {
      writeFileSync(join(home, ".netrc"), `machine 127.0.0.1\n  login user\n  password ${server.key}\n`);
      const run = tracker(undefined, { WANDB_API_KEY: undefined, HOME: home });
      await run.init({});
      await run.finish({ succeeded: true });
      expect(server.run.complete).toBe(true);
    } finally {
      rmSync(home, { recursive: true });
    }
  });

  it("is the one of its machine, among other entries", () => {
    const text = `# machine x password no
      machine a login machine password password
      machine b
        login user # a comment
        account password
        password p#b
      default login d password dd
      macdef init
      machine evil password no

      machine c password pc`;
    expect([...parseNetrc(text.replace(/^ {6}/gm, ""))]).toEqual([
      ["a", "password"],
      ["b", "p#b"],
      ["c", "pc"],
    ]);
    expect([...parseNetrc("")]).toEqual([]);
    expect([...parseNetrc("machine")]).toEqual([]);
  });
});
