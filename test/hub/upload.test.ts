import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { inspect } from "node:util";
import { Response } from "undici";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { HubUploader, type HubUploaderOptions, type UploadFile, type UploadProgress } from "../../lib/hub/upload.js";
import { UploadWatch } from "../../lib/hub/upload-watch.js";
import { UploadServer } from "./upload-server.js";

const CANARY = "hf_CANARYcanaryCANARYcanary0123456789";
const ID = "ann/edits";
let server: UploadServer;
let folder: string;
let env: Record<string, string>;
const opened: HubUploader[] = [];

beforeAll(async () => {
  server = await UploadServer.start();
});
afterAll(() => server.stop());
beforeEach(async () => {
  server.reset();
  server.accounts.set(CANARY, { name: "ann", role: "write", mayCreate: ["ann"], mayWrite: ["ann", "team"] });
  folder = await mkdtemp(join(tmpdir(), "ip2p-upload-"));
  env = { HF_ENDPOINT: server.url, HF_HOME: join(folder, "home"), HF_TOKEN: CANARY };
});
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
  await rm(folder, { recursive: true, force: true });
});

async function uploader(options: HubUploaderOptions = {}, more: Record<string, string> = {}): Promise<HubUploader> {
  const one = await HubUploader.open({ retryDelay: 1, ...options }, { ...env, ...more });
  opened.push(one);
  return one;
}

/** Two small files and three large ones, by default of 12 MB (hashed otherwise than smaller ones), 300 kB and 1 byte. */
async function someFiles(large = 12_000_000): Promise<{ files: UploadFile[]; content: Record<string, Buffer> }> {
  const content: Record<string, Buffer> = {
    "README.md": Buffer.from("# A card ✓\n"),
    "unet/config.json": Buffer.from("{}"),
    "unet/diffusion_pytorch_model.safetensors": randomBytes(large),
    "vae/diffusion_pytorch_model.safetensors": randomBytes(300_000),
    "text_encoder/model.safetensors": randomBytes(1),
  };
  const files = Object.keys(content).map((name) => ({ name, path: join(folder, name) }));
  for (const { name, path } of files) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content[name]!);
  }
  return { files, content };
}

function expectUploaded(content: Record<string, Buffer>, id = ID): void {
  const { files } = server.repositories.get(id)!;
  expect([...files.keys()].sort()).toEqual(Object.keys(content).sort());
  for (const [name, bytes] of Object.entries(content)) expect(files.get(name)!.equals(bytes), name).toBe(true);
}

const puts = () => server.asked(/^PUT/).map((line) => line.replace(/\?.*/, ""));

test.each([
  ["whole", undefined],
  ["in parts", 1_000_000],
])("files arrive as they are in one commit, large ones %s", async (_, partSize) => {
  server.partSize = partSize;
  const { files, content } = await someFiles();
  const hub = await uploader();
  expect(await hub.account()).toBe("ann");
  await hub.createRepository(ID);
  const told: UploadProgress[] = [];
  const done = await hub.upload(ID, files, { title: "A title", onProgress: (progress) => told.push(progress) });
  expect(done).toEqual({ commit: expect.stringMatching(/^[0-9a-f]{40}$/), url: `${server.url}/${ID}` });
  expectUploaded(content);
  expect(server.repositories.get(ID)!.commits).toEqual([{ summary: "A title", paths: Object.keys(content).sort() }]);
  const put = server.requests.filter(({ method }) => method === "PUT");
  expect(put.length).toBe(partSize ? 12 + 1 + 1 : 3);
  expect(put.every(({ headers }) => headers["transfer-encoding"] === undefined)).toBe(true);
  const all = Object.values(content).reduce((sum, { length }) => sum + length, 0);
  expect(told.at(-1)).toMatchObject({ allUploadedBytes: all, allTotalBytes: all });
  expect(told.every(({ uploadedBytes, totalBytes }) => uploadedBytes >= 0 && uploadedBytes <= totalBytes)).toBe(true);
});

test("an existing repository keeps its other files, and blobs that the hub has are not sent again", async () => {
  const { files, content } = await someFiles();
  const hub = await uploader();
  await hub.createRepository(ID);
  server.repositories.get(ID)!.files.set("notes.txt", Buffer.from("mine"));
  await hub.upload(ID, files, { title: "first" });
  expect(puts()).toHaveLength(3);
  await hub.createRepository(ID);
  const changed = Buffer.from("new weights");
  await writeFile(files[3]!.path, changed);
  await hub.upload(ID, files, { title: "second" });
  expect(puts()).toHaveLength(4);
  expectUploaded({ ...content, "notes.txt": Buffer.from("mine"), [files[3]!.name]: changed });
});

test("every request survives a server's errors, lost answers and cut connections", async () => {
  const { files, content } = await someFiles();
  server.partSize = 5_000_000;
  const seen = new Map<string, number>();
  server.fault = ({ method, path }) => {
    const kind = `${method} ${path.replace(/[0-9a-f]{64}/, "").replace(/\?.*part=/, "?part=")}`;
    const time = (seen.get(kind) ?? 0) + 1;
    seen.set(kind, time);
    if (time === 1) return { status: 503, headers: { "retry-after": "0" } };
    if (time === 2) return kind.includes("commit") ? { status: 429 } : "lose answer";
    return time === 3 ? "reset" : undefined;
  };
  const hub = await uploader();
  await hub.account();
  await hub.createRepository(ID);
  await hub.upload(ID, files, { title: "title" });
  expectUploaded(content);
  expect(server.repositories.get(ID)!.commits).toHaveLength(1);
  expect(Math.min(...seen.values())).toBeGreaterThanOrEqual(4);
});

test("a connection cut within a large file is resumed without sending the others again", async () => {
  const { files, content } = await someFiles();
  const hub = await uploader();
  await hub.createRepository(ID);
  let cuts = 3;
  server.cutAfter = (line) => (line.startsWith("PUT") && line.includes("size=12000000") && cuts-- > 0 ? 2e6 : 1e9);
  const told: UploadProgress[] = [];
  await hub.upload(ID, files, { title: "title", onProgress: (progress) => told.push(progress) });
  expectUploaded(content);
  expect(cuts).toBeLessThan(0);
  // Those that were cut never arrived as a request.
  expect(puts()).toHaveLength(3);
  expect(told.every(({ uploadedBytes, totalBytes }) => uploadedBytes <= totalBytes)).toBe(true);
});

test("an expired storage address is requested again", async () => {
  const { files, content } = await someFiles();
  const hub = await uploader();
  await hub.createRepository(ID);
  let refusals = 1;
  server.fault = ({ method, path }) =>
    method === "PUT" && path.includes("size=12000000") && refusals-- > 0
      ? { status: 403, body: "<Error>Request has expired</Error>" }
      : undefined;
  await hub.upload(ID, files, { title: "title" });
  expectUploaded(content);
  server.blobs.clear();
  server.fault = ({ method }) => (method === "PUT" ? { status: 403 } : undefined);
  const before = server.asked(/preupload/).length;
  await expect(hub.upload(ID, files, { title: "title" })).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringMatching(/the storage answered 403$/),
  });
  expect(server.asked(/preupload/).length - before).toBe(3);
});

test("storage that does not answer is given up, and the error says so", async () => {
  const { files } = await someFiles();
  const hub = await uploader({ idleTimeout: 300, retries: 1 });
  await hub.createRepository(ID);
  server.fault = ({ method }) => (method === "PUT" ? "hang" : undefined);
  await expect(hub.upload(ID, files, { title: "title" })).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringMatching(/cannot be reached \(UND_ERR_HEADERS_TIMEOUT\)$/),
  });
  expect(server.repositories.get(ID)!.commits).toEqual([]);
});

test("an aborted upload stops, whether it waits for an answer or for the next retry", async () => {
  const { files } = await someFiles();
  const hub = await uploader({ retryDelay: 60_000 });
  await hub.createRepository(ID);
  for (const when of [
    "POST /api/models/ann/edits/preupload",
    "POST /ann/edits.git",
    "PUT",
    "POST /api/models/ann/edits/commit",
  ]) {
    const stop = new AbortController();
    server.fault = ({ method, path }) => {
      if (!`${method} ${path}`.startsWith(when)) return undefined;
      setTimeout(() => stop.abort(new Error("enough")), 20);
      return when.startsWith("POST /api") ? "hang" : { status: 500 };
    };
    const error = await hub.upload(ID, files, { title: "title", signal: stop.signal }).catch((thrown) => thrown);
    expect(error, when).toMatchObject({ code: "ERR_ABORTED", cause: { message: "enough" } });
  }
  await expect(hub.upload(ID, files, { title: "title", signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "ERR_ABORTED",
  });
  expect(server.repositories.get(ID)!.commits).toEqual([]);
});

test("the hub's message is quoted if it has no space for a file", async () => {
  const { files } = await someFiles(100_000);
  const hub = await uploader();
  await hub.createRepository(ID);
  server.fault = ({ path, body }) => {
    if (!path.includes("objects/batch")) return undefined;
    const objects = JSON.parse(body.toString()).objects.map((object: object, i: number) =>
      i === 2 ? { ...object, error: { code: 403, message: `storage limit\nreached ${CANARY}` } } : object,
    );
    return { status: 200, body: JSON.stringify({ transfer: "basic", objects }) };
  };
  await expect(hub.upload(ID, files, { title: "title" })).rejects.toMatchObject({
    code: "ERR_HUB",
    message: `${server.url}/${ID}: the hub does not take a large file (403: storage limit reached [token])`,
  });
});

test("an answer that is far too long is given up, also as an explanation of an error", async () => {
  const { files } = await someFiles(100_000);
  const hub = await uploader();
  await hub.createRepository(ID);
  const long = "x".repeat(2 ** 24);
  server.fault = ({ path }) =>
    path.includes("objects/batch") ? { status: 200, body: JSON.stringify({ objects: long }) } : undefined;
  await expect(hub.upload(ID, files, { title: "title" })).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringMatching(/answer is longer than 16777216 bytes$/),
  });
  const headers = { "content-type": "application/json" };
  server.fault = () => ({ status: 400, headers, body: JSON.stringify({ error: long }) });
  await expect(hub.account()).rejects.toMatchObject({ code: "ERR_HUB", message: expect.stringMatching(/ 400$/) });
});

test("an upload whose hub client never returns is given up", async () => {
  // Of a clock that stands still unless told otherwise: on a busy machine, milliseconds prove nothing.
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  const watch = new UploadWatch("https://hub/a/b", undefined, 60);
  try {
    let failure: unknown;
    watch.failure.catch((error: unknown) => {
      failure = error;
    });
    for (let i = 0; i < 20; i++) {
      await vi.advanceTimersByTimeAsync(50);
      watch.read();
    }
    let answer = (_: Response) => {};
    const asked = watch.request(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    );
    await vi.advanceTimersByTimeAsync(1000);
    answer(new Response());
    await asked;
    await vi.advanceTimersByTimeAsync(60);
    expect(failure).toBeUndefined();
    await vi.advanceTimersByTimeAsync(15);
    expect(failure).toMatchObject({ code: "ERR_HUB", message: expect.stringContaining("not understood") });
  } finally {
    watch.end();
    vi.useRealTimers();
  }
});

test("a large file is never held in memory as a whole", async () => {
  const size = 200_000_000;
  const path = join(folder, "large.safetensors");
  await writeFile(path, "");
  await truncate(path, size);
  let received = 0;
  let held = 0;
  const drain = createServer((incoming, response) => {
    incoming.on("data", (chunk: Buffer) => {
      received += chunk.length;
      held = Math.max(held, process.memoryUsage().arrayBuffers);
    });
    incoming.on("end", () => response.end());
  });
  await new Promise<void>((resolve) => drain.listen(0, "127.0.0.1", () => resolve()));
  try {
    const hub = await uploader();
    await hub.createRepository(ID);
    const href = `http://127.0.0.1:${(drain.address() as AddressInfo).port}/`;
    const json = (body: unknown) => ({ status: 200, body: JSON.stringify(body) });
    server.fault = ({ path: asked, body }) => {
      if (asked.includes("/commit/")) return json({ commitOid: "a".repeat(40), commitUrl: "" });
      if (!asked.includes("objects/batch")) return undefined;
      const { objects } = JSON.parse(body.toString());
      return json({ transfer: "basic", objects: [{ ...objects[0], actions: { upload: { href } } }] });
    };
    await hub.upload(ID, [{ name: "large.safetensors", path }], { title: "title" });
    expect(received).toBe(size);
    expect(held).toBeLessThan(size / 2);
  } finally {
    drain.closeAllConnections();
    await new Promise((resolve) => drain.close(resolve));
  }
});

test("a file that is missing, or becomes shorter while it is read, is named", async () => {
  const { files } = await someFiles();
  const hub = await uploader();
  await hub.createRepository(ID);
  const missing = { name: "x.safetensors", path: join(folder, "x.safetensors") };
  await expect(hub.upload(ID, [...files, missing], { title: "title" })).rejects.toMatchObject({
    code: "ERR_IO",
    message: `${missing.path}: cannot be read (ENOENT)`,
  });
  for (const { name, path } of files.slice(2, 4)) {
    const [before, after] = name.startsWith("unet") ? ["POST preupload", 100] : ["PUT", 10];
    server.fault = async ({ method, path: asked }) => {
      if (before === "PUT" ? asked.includes("objects/batch") : method === "POST" && asked.includes("preupload"))
        await truncate(path, Number(after));
      return undefined;
    };
    await expect(hub.upload(ID, files, { title: "title" }), name).rejects.toMatchObject({
      code: "ERR_IO",
      message: `${path}: cannot be read (it became shorter)`,
    });
    await writeFile(path, randomBytes(300_000));
  }
  expect(server.repositories.get(ID)!.commits).toEqual([]);
});

test("missing rights of a token are reported before anything is uploaded", async () => {
  const may = { name: "ann", role: "fineGrained" as const };
  server.accounts.set("hf_read", { ...may, role: "read", mayCreate: ["ann"], mayWrite: ["ann"] });
  server.accounts.set("hf_one", { ...may, mayCreate: [], mayWrite: ["ann"] });
  server.accounts.set("hf_none", { ...may, mayCreate: [], mayWrite: [] });
  const refused = (message: RegExp) => ({ code: "ERR_HUB", message: expect.stringMatching(message) });

  await expect((await uploader({ token: "hf_wrong" })).account()).rejects.toMatchObject(
    refused(/the hub does not accept the access token \(401: Invalid credentials/),
  );
  await expect((await uploader({ token: "hf_read" })).account()).rejects.toMatchObject(refused(/read permission only/));
  const one = await uploader({ token: "hf_one" });
  await expect(one.createRepository(ID)).rejects.toMatchObject(
    refused(/ann\/edits: the access token may not create it \(403: You don't have the rights/),
  );
  await (await uploader()).createRepository(ID);
  await one.createRepository(ID);
  server.accounts.get(CANARY)!.mayCreate.push("team");
  await (await uploader()).createRepository("team/edits");
  await expect(one.createRepository("team/edits")).rejects.toMatchObject(
    refused(/may not write to it \(403: Forbidden/),
  );
  await expect((await uploader({ token: "hf_none" })).createRepository(ID)).rejects.toMatchObject(
    refused(/may not write/),
  );
  expect(puts()).toEqual([]);

  await expect(uploader({}, { HF_TOKEN: "" })).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  await expect(uploader({}, { HF_HUB_OFFLINE: "1" })).rejects.toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringContaining("HF_HUB_OFFLINE"),
  });
});

test.each(["whoami", "repos/create", "preupload", "objects/batch", "storage", "commit"])(
  "an answer of or about %s that does not end is given up",
  async (kind) => {
    const { files } = await someFiles(100_000);
    const hub = await uploader({ retries: 0 });
    const body = Buffer.alloc(2 ** 24 + 1, " ");
    server.fault = ({ host, path }) =>
      path.includes(kind) || host === kind
        ? { status: 200, body, headers: { "content-type": "application/json" } }
        : undefined;
    const all = async () => {
      await hub.account();
      await hub.createRepository(ID);
      await hub.upload(ID, files, { title: "title" });
    };
    await expect(all()).rejects.toMatchObject({
      code: "ERR_HUB",
      message: expect.stringContaining("is longer than 16777216 bytes"),
    });
  },
);

test("the token is in the header of requests to the hub alone, and in no error for any answer of a server", async () => {
  const { files } = await someFiles(100_000);
  server.partSize = 200_000;
  const hub = await uploader({ retries: 0 });
  const seen: string[] = [];
  const all = async () => {
    await hub.account();
    await hub.createRepository(ID);
    await hub.upload(ID, files, { title: "title", onProgress: (progress) => seen.push(inspect(progress)) });
  };
  await all();
  const kinds = ["whoami", "repos/create", "preupload", "objects/batch", "storage", "complete", "commit"];
  const error = JSON.stringify({ error: CANARY });
  const answers = [302, 307, 400, 401, 403, 404, 409, 500].map((status) => ({ status, body: error }));
  for (const body of [CANARY, error, JSON.stringify({ objects: CANARY, files: CANARY })])
    answers.push({ status: 200, body });
  for (const kind of kinds)
    for (const { status, body } of answers) {
      server.blobs.clear();
      server.fault = ({ host, path }) =>
        path.includes(kind) || host === kind
          ? {
              status,
              body,
              headers: {
                "content-type": "application/json",
                "x-error-message": `no\u00a0${CANARY}`,
                "x-request-id": CANARY,
                location: `${server.storageUrl}/${kind}`,
              },
            }
          : undefined;
      const error = await all().catch((thrown) => thrown);
      if (error === undefined) continue;
      expect(error, inspect(error)).toMatchObject({ name: "InstructPix2PixError" });
      for (let at = error; at instanceof Error; at = at.cause)
        seen.push(at.message, at.stack ?? "", inspect(at, { depth: 10, showHidden: true }), JSON.stringify(at));
    }
  expect(seen.length).toBeGreaterThan(150);
  expect(seen.filter((text) => text.includes(CANARY.slice(3)) || text.includes("signed-secret"))).toEqual([]);
  for (const { host, path, headers, body } of server.requests) {
    const { authorization, ...others } = headers;
    expect([undefined, host === "hub" ? `Bearer ${CANARY}` : undefined]).toContain(authorization);
    expect(path + JSON.stringify(others) + body.toString("latin1")).not.toContain(CANARY.slice(3));
  }
  expect(server.requests.filter(({ host, headers }) => host === "hub" && headers.authorization).length).toBeGreaterThan(
    20,
  );
});
