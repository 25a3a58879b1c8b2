import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { NEEDED } from "../hub/fixtures.js";
import { UploadServer } from "../hub/upload-server.js";
import { WandbServer } from "../tracking/wandb-server.js";
import {
  checkpoints,
  expectError,
  filesBelow,
  tinyOptions,
  tinyPairs,
  trained,
  watch,
} from "./reliability/tiny-run.js";

const CANARY = "hf_CANARYcanaryCANARYcanary0123456789";
/** Any part of it would be too much. */
const TRACE = CANARY.slice(3, 15);
const MODEL = ["README.md", ...NEEDED];
let hub: UploadServer;
let folder: string;
let outputDir: string;

beforeAll(async () => {
  hub = await UploadServer.start();
});
afterAll(() => hub.stop());
beforeEach(() => {
  hub.reset();
  hub.accounts.set(CANARY, { name: "ann", role: "write", mayCreate: ["ann"], mayWrite: ["ann"] });
  folder = mkdtempSync(join(tmpdir(), "ip2p-publish-"));
  outputDir = join(folder, "my-edits");
  for (const [name, value] of Object.entries({ HF_ENDPOINT: hub.url, HF_HOME: join(folder, "home"), HF_TOKEN: "" }))
    vi.stubEnv(name, value);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const options = (more: Parameters<typeof tinyOptions>[1] = {}) =>
  tinyOptions(outputDir, { maxTrainSteps: 2, lrWarmupSteps: 0, pushToHub: true, hubToken: CANARY, ...more });

test("the model and its card are uploaded and nothing else; the token is in no file, event, tracker or request", async () => {
  const wandb = new WandbServer();
  await wandb.listen();
  vi.stubEnv("WANDB_BASE_URL", wandb.url);
  vi.stubEnv("WANDB_API_KEY", wandb.key);
  for (const name of ["notes.txt", "unet/optimizer.bin", "unet/old.fp16.safetensors", "logs/x", "vae/.env"]) {
    mkdirSync(join(outputDir, name, ".."), { recursive: true });
    writeFileSync(join(outputDir, name), "private");
  }
  try {
    const more = {
      reportTo: "all",
      checkpointingSteps: 2,
      valImageUrl: join(tinyPairs, pictureOf()),
      validationPrompt: "x",
    };
    const first = await trained(options(more));
    const { files, commits } = hub.repositories.get("ann/my-edits")!;
    expect([...files.keys()].sort()).toEqual(MODEL);
    for (const [name, content] of files) expect(content.equals(readFileSync(join(outputDir, name))), name).toBe(true);
    expect(commits).toEqual([{ summary: "Train for 2 steps", paths: MODEL }]);
    const told = first.events.filter(({ type }) => type === "publishing" || type === "published");
    expect(told.at(-1)).toMatchObject({
      type: "published",
      repository: "ann/my-edits",
      url: `${hub.url}/ann/my-edits`,
    });
    expect(told.at(-2)).toMatchObject({ type: "publishing", repository: "ann/my-edits" });

    // Again, with what was trained: the hub has everything.
    const sent = hub.asked(/^PUT/).length;
    const second = await trained(options({ ...more, resumeFromCheckpoint: "latest" }));
    expect(hub.asked(/^PUT/)).toHaveLength(sent);
    expect(commits).toHaveLength(2);

    const written = filesBelow(outputDir);
    for (const kind of [
      /^checkpoint-2\/state\.json$/,
      /^metrics\.jsonl$/,
      /^logs\/.*tfevents/,
      /^validation\//,
      /^README/,
    ])
      expect(
        written.some((name) => kind.test(name)),
        String(kind),
      ).toBe(true);
    for (const name of written) expect(readFileSync(join(outputDir, name)).includes(TRACE), name).toBe(false);
    expect(inspect([first, second], { depth: 20 })).not.toContain(TRACE);
    expect(wandb.requests.length).toBeGreaterThan(3);
    for (const { path, headers, body } of [...wandb.requests, ...hub.requests]) {
      const { authorization: _, ...others } = headers;
      expect(path + JSON.stringify(others) + body.toString("latin1")).not.toContain(TRACE);
    }
    expect(JSON.stringify(wandb.requests.map(({ headers }) => headers))).not.toContain(TRACE);
    for (const { host, headers } of hub.requests) if (host === "storage") expect(headers.authorization).toBeUndefined();
  } finally {
    await wandb.close();
  }
});

test("problems with the upload are found before training", async () => {
  hub.accounts.set("hf_readonly", { name: "ann", role: "read", mayCreate: [], mayWrite: [] });
  const cases: [Parameters<typeof options>[0], Record<string, string>, string, RegExp][] = [
    [{ hubToken: "hf_wrong" }, {}, "ERR_HUB", /does not accept the access token/],
    [{ hubToken: "hf_readonly" }, {}, "ERR_HUB", /read permission only/],
    [{ hubModelId: "team/edits" }, {}, "ERR_HUB", /team\/edits: the access token may not create it/],
    [{ hubModelId: "a/b/c" }, {}, "ERR_INVALID_ARGUMENT", /^hubModelId "a\/b\/c" must be/],
    [{ outputDir: join(folder, "my edits!") }, {}, "ERR_INVALID_ARGUMENT", /"my edits!".*give hubModelId/],
    [{ hubToken: undefined }, {}, "ERR_INVALID_ARGUMENT", /needs an access token/],
    [{ hubTokenFile: "x" }, {}, "ERR_INVALID_ARGUMENT", /^hubToken and hubTokenFile exclude one another$/],
    [{ hubToken: undefined, hubTokenFile: "/no" }, {}, "ERR_INVALID_ARGUMENT", /^hubTokenFile \/no cannot be read/],
    [{}, { HF_HUB_OFFLINE: "1" }, "ERR_INVALID_ARGUMENT", /HF_HUB_OFFLINE/],
  ];
  for (const [more, env, code, message] of cases) {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const seen = await watch(options(more));
    expect(isInstructPix2PixError(seen.error) && seen.error.code, String(seen.error)).toBe(code);
    expect((seen.error as Error).message).toMatch(message);
    expect(seen.records).toEqual([]);
    expect(seen.events.map(({ type }) => type)).not.toContain("started");
    expect(filesBelow(folder)).toEqual([]);
  }
  expect(hub.repositories.size).toBe(0);
});

test("a token of the environment or a file, and a repository name without an owner, are accepted", async () => {
  vi.stubEnv("HF_TOKEN", CANARY);
  await trained(options({ hubToken: undefined, hubModelId: "other.name" }));
  vi.stubEnv("HF_TOKEN", "");
  const hubTokenFile = join(folder, "token");
  writeFileSync(hubTokenFile, `${CANARY}\n`, { mode: 0o600 });
  await trained(options({ hubToken: undefined, hubTokenFile, hubModelId: "from-file" }));
  for (const name of filesBelow(outputDir))
    expect(readFileSync(join(outputDir, name)).includes(TRACE), name).toBe(false);
  expect([...hub.repositories.keys()]).toEqual(["ann/other.name", "ann/from-file"]);
  expect([...hub.repositories.get("ann/other.name")!.files.keys()].sort()).toEqual(MODEL);
});

test("an upload that fails after training leaves the model and says where it is", async () => {
  hub.fault = ({ path }) => (path.includes("/commit/") ? { status: 403 } : undefined);
  const seen = await watch(options());
  const message = expectError(seen, "ERR_HUB");
  expect(message).toMatch(/may not write to it \(403\)/);
  expect(message.endsWith(`the model was not uploaded, but is safe in ${outputDir}`)).toBe(true);
  expect(filesBelow(outputDir)).toEqual(expect.arrayContaining(MODEL));
  expect(seen.events.map(({ type }) => type)).not.toContain("published");
});

test("a run stopped while it uploads leaves the model and a checkpoint", async () => {
  const stop = new AbortController();
  hub.fault = ({ path }) => {
    if (!path.includes("/preupload/")) return undefined;
    setTimeout(() => stop.abort(), 10);
    return "hang";
  };
  const seen = await watch({ ...options(), signal: stop.signal });
  expect(expectError(seen, "ERR_ABORTED")).toContain(`is safe in ${outputDir}`);
  expect(filesBelow(outputDir)).toEqual(expect.arrayContaining(MODEL));
  expect(checkpoints(outputDir)).toEqual(["checkpoint-2"]);
});

function pictureOf(): string {
  return filesBelow(tinyPairs).find((name) => name.endsWith(".png"))!;
}
