import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test, vi } from "vitest";
import { pipelineFiles, useHub } from "./fixtures.js";
import { commit, gitHash, HubServer, sha256 } from "./server.js";

const hub = useHub();
const UNET = "unet/diffusion_pytorch_model.safetensors";
const SIZE = 400_000;

/** A repository with one large file, and what its path in the cache and its content are. */
function repository() {
  const files: ReturnType<typeof pipelineFiles> = { ...pipelineFiles(), [UNET]: randomBytes(SIZE) };
  hub.server.repositories.set("org/model", { files });
  const content = Buffer.from(files[UNET]!);
  const blob = join(hub.cacheDir, "models--org--model/blobs", sha256(content));
  return { files, content, blob, file: join(hub.cacheDir, "models--org--model/snapshots", commit(0), UNET) };
}

const onlyUnet = { subfolder: "unet" };

function isUnetContent(request: { host: string; path: string }): boolean {
  return request.host === "cdn" && request.path.includes("unet");
}

test("a partial file of an earlier attempt is resumed", async () => {
  const { content, blob, file } = repository();
  await mkdir(join(blob, ".."), { recursive: true });
  await writeFile(`${blob}.incomplete`, content.subarray(0, 150_000));
  await hub.resolve("org/model", onlyUnet);
  expect(content.equals(await readFile(file))).toBe(true);
  const ranges = hub.server.requests.filter(isUnetContent).map(({ range }) => range);
  expect(ranges).toEqual(["bytes=150000-"]);
  expect(await readdir(join(blob, ".."))).not.toContain(`${sha256(content)}.incomplete`);
});

test("a partial file with other content, or too long, is downloaded again", async () => {
  const { content, blob, file } = repository();
  await mkdir(join(blob, ".."), { recursive: true });
  await writeFile(`${blob}.incomplete`, Buffer.alloc(150_000, 7));
  await hub.resolve("org/model", onlyUnet);
  expect(content.equals(await readFile(file))).toBe(true);

  const other = { ...onlyUnet, cacheDir: join(hub.scratch, "other") };
  const otherBlob = join(other.cacheDir, "models--org--model/blobs", sha256(content));
  await mkdir(join(otherBlob, ".."), { recursive: true });
  await writeFile(`${otherBlob}.incomplete`, Buffer.alloc(SIZE + 1, 7));
  const folder = await hub.resolve("org/model", other);
  expect(content.equals(await readFile(join(folder, "diffusion_pytorch_model.safetensors")))).toBe(true);
});

test("a connection that breaks again and again is resumed each time", async () => {
  const { content, file } = repository();
  hub.server.fault = (request, response) => {
    if (!isUnetContent(request) || request.method !== "GET") return undefined;
    const start = Number(/\d+/.exec(request.range ?? "0")![0]);
    const end = Math.min(start + 50_000, SIZE);
    response.writeHead(start > 0 ? 206 : 200, {
      "content-length": SIZE - start,
      ...(start > 0 && { "content-range": `bytes ${start}-${SIZE - 1}/${SIZE}` }),
    });
    response.write(content.subarray(start, end), () => {
      if (end === SIZE) response.end();
      else response.destroy();
    });
    return "handled";
  };
  await hub.resolve("org/model", { ...onlyUnet, retries: 1 });
  expect(content.equals(await readFile(file))).toBe(true);
  expect(hub.server.requests.filter(isUnetContent).length).toBeGreaterThanOrEqual(SIZE / 50_000);
});

test("from storage without range requests the download restarts", async () => {
  const { content, blob, file } = repository();
  hub.server.ranges = false;
  await mkdir(join(blob, ".."), { recursive: true });
  await writeFile(`${blob}.incomplete`, content.subarray(0, 150_000));
  await hub.resolve("org/model", onlyUnet);
  expect(content.equals(await readFile(file))).toBe(true);
});

test("servers that fail for a while are retried with growing delays", async () => {
  const { file, content } = repository();
  const failures = new Map<string, number>();
  const statuses = [500, 502, 503, 429, 408];
  hub.server.fault = (request, response) => {
    const key = `${request.method} ${request.path}`;
    const failed = failures.get(key) ?? 0;
    failures.set(key, failed + 1);
    if (failed >= 2) return undefined;
    if (failed === 0) response.writeHead(statuses[failures.size % statuses.length]!).end();
    else response.destroy();
    return "handled";
  };
  const start = performance.now();
  await hub.resolve("org/model", { ...onlyUnet, retryDelay: 50 });
  expect(content.equals(await readFile(file))).toBe(true);
  expect(performance.now() - start).toBeGreaterThan(0.9 * (50 + 100));
  expect(failures.size).toBeGreaterThan(4);
});

test("a server that always fails is given up; the partial file is kept for the next call", async () => {
  const { content, blob, file } = repository();
  hub.server.fault = (request, response) => {
    if (!isUnetContent(request)) return undefined;
    if (request.range) response.writeHead(503).end();
    else {
      response.writeHead(200, { "content-length": SIZE });
      // Ended, not reset: a reset may overtake what was sent.
      response.write(content.subarray(0, 100_000), () => response.socket?.end());
    }
    return "handled";
  };
  await expect(hub.resolve("org/model", { ...onlyUnet, retries: 2 })).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("503"),
  });
  // The end of a connection overtakes what of it has not been read yet.
  const { size } = await stat(`${blob}.incomplete`);
  expect(size).toBeGreaterThan(0);
  expect(size).toBeLessThanOrEqual(100_000);
  hub.server.fault = undefined;
  await hub.resolve("org/model", onlyUnet);
  expect(hub.server.requests.filter(isUnetContent).at(-1)!.range).toBe(`bytes=${size}-`);
  expect(content.equals(await readFile(file))).toBe(true);
});

test("a connection that stops sending is closed, and the download resumed", async () => {
  const { content, file } = repository();
  let silent = true;
  hub.server.fault = (request, response) => {
    if (!isUnetContent(request) || !silent) return undefined;
    silent = false;
    response.writeHead(200, { "content-length": SIZE });
    response.write(content.subarray(0, 100_000));
    return "handled";
  };
  await hub.resolve("org/model", { ...onlyUnet, idleTimeout: 300 });
  expect(content.equals(await readFile(file))).toBe(true);
  expect(hub.server.requests.filter(isUnetContent).at(-1)!.range).toBe("bytes=100000-");
});

test("content with a wrong hash never gets into the cache", async () => {
  const { content, blob } = repository();
  hub.server.fault = (request, response) => {
    if (!isUnetContent(request)) return undefined;
    response.writeHead(200, { "content-length": SIZE }).end(Buffer.alloc(SIZE, 1));
    return "handled";
  };
  await expect(hub.resolve("org/model", onlyUnet)).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("hash"),
  });
  expect(await readdir(join(blob, ".."))).not.toContain(sha256(content));
  expect(await readdir(join(blob, ".."))).not.toContain(`${sha256(content)}.incomplete`);
});

test("small files are checked too, against the hash that git gives them", async () => {
  const { files } = repository();
  hub.server.fault = (request, response) => {
    if (request.method !== "GET" || !request.path.endsWith("vae/config.json")) return undefined;
    const content = Buffer.from(files["vae/config.json"]!);
    response.writeHead(200, { etag: `"${gitHash(content)}"`, "content-length": content.length });
    response.end(Buffer.alloc(content.length, 0x20));
    return "handled";
  };
  await expect(hub.resolve("org/model", { subfolder: "vae" })).rejects.toMatchObject({ code: "ERR_HUB" });
});

test("a server that sends more than it announced is cut off", async () => {
  repository();
  hub.server.fault = (request, response) => {
    if (!isUnetContent(request)) return undefined;
    response.writeHead(200).end(Buffer.alloc(SIZE * 2));
    return "handled";
  };
  await expect(hub.resolve("org/model", { ...onlyUnet, retries: 0 })).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("more than"),
  });
});

test("invalid answers are refused", async () => {
  repository();
  const answers: [RegExp, number, Record<string, string>, string][] = [
    [/revision/, 200, { "content-type": "application/json" }, '{"sha":"../../../evil"}'],
    [/revision/, 200, { "content-type": "application/json" }, "not json"],
    [/revision/, 418, {}, ""],
    [/tree/, 200, { "content-type": "application/json" }, '{"a":1}'],
    [/^\/org.*resolve/, 200, {}, ""],
    [/^\/org.*resolve/, 200, { etag: '"../../evil"' }, ""],
    [/^\/org.*resolve/, 302, { location: "file:///etc/passwd", etag: '"a"' }, ""],
    [/^\/org.*resolve/, 302, { location: "/org/model/resolve/loop" }, ""],
  ];
  for (const [path, status, headers, body] of answers) {
    hub.server.fault = (request, response) => {
      if (!path.test(request.path)) return undefined;
      response.writeHead(status, headers).end(body);
      return "handled";
    };
    await expect(
      hub.resolve("org/model", onlyUnet),
      `${path} ${JSON.stringify(headers)} ${body}`,
    ).rejects.toMatchObject({
      code: "ERR_HUB",
      message: expect.not.stringContaining("\n"),
    });
  }
  expect(await readdir(hub.scratch).catch(() => [])).not.toContain("evil");
});

test("a listing without end is given up", async () => {
  repository();
  hub.server.fault = (request, response) => {
    if (!request.path.includes("/tree/")) return undefined;
    response.writeHead(200, {
      "content-type": "application/json",
      link: `<${hub.server.url}${request.path}>; rel="next"`,
    });
    response.end("[]");
    return "handled";
  };
  await expect(hub.resolve("org/model", onlyUnet)).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("does not end"),
  });
});

test("an answer that expands without end is given up", async () => {
  repository();
  const bomb = gzipSync(Buffer.alloc(2 ** 24 + 1, " "));
  hub.server.fault = (request, response) => {
    if (!request.path.includes("/tree/")) return undefined;
    response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" }).end(bomb);
    return "handled";
  };
  await expect(hub.resolve("org/model", onlyUnet)).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("is longer than"),
  });
});

test("an abort stops at once, and the next call resumes the download", async () => {
  const { content, blob, file } = repository();
  const controller = new AbortController();
  hub.server.fault = (request, response) => {
    if (!isUnetContent(request)) return undefined;
    response.writeHead(200, { "content-length": SIZE });
    response.write(content.subarray(0, 200_000));
    return "handled";
  };
  const running = hub.resolve("org/model", {
    ...onlyUnet,
    signal: controller.signal,
    onProgress: ({ downloadedBytes }) => {
      if (downloadedBytes > 0) controller.abort();
    },
  });
  // The server never sends the rest: without the abort this would not end.
  await expect(running).rejects.toMatchObject({ code: "ERR_ABORTED" });
  expect((await stat(`${blob}.incomplete`)).size).toBeGreaterThan(0);
  hub.server.fault = undefined;
  await hub.resolve("org/model", onlyUnet);
  expect(content.equals(await readFile(file))).toBe(true);
  await expect(hub.resolve("org/model", { signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "ERR_ABORTED",
  });
});

test("an abort while waiting for a retry stops at once", async () => {
  repository();
  hub.server.fault = (_, response) => {
    response.writeHead(503).end();
    return "handled";
  };
  const running = hub.resolve("org/model", { signal: AbortSignal.timeout(100), retryDelay: 20_000 });
  await expect(running).rejects.toMatchObject({ code: "ERR_ABORTED" });
});

test("several calls at once download each file once", async () => {
  repository();
  const folders = await Promise.all(Array.from({ length: 5 }, () => hub.resolve("org/model")));
  expect(new Set(folders).size).toBe(1);
  const contents = hub.server.asked(/^GET/).filter((line) => line.includes("Signature"));
  expect(new Set(contents).size).toBe(contents.length);
  expect(await readdir(join(hub.cacheDir, ".locks/models--org--model"))).toEqual([]);
});

test("one failing file stops the others", async () => {
  repository();
  hub.server.fault = (request, response) => {
    if (request.path.endsWith("vae/config.json")) {
      response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
      return "handled";
    }
    // The others never end by themselves.
    return request.host === "cdn" ? "handled" : undefined;
  };
  await expect(hub.resolve("org/model")).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("vae/config.json"),
  });
});

test("a cache that cannot be written is ERR_IO", async () => {
  repository();
  await mkdir(hub.scratch, { recursive: true });
  const cacheDir = join(hub.scratch, "file");
  await writeFile(cacheDir, "");
  await expect(hub.resolve("org/model", { cacheDir })).rejects.toMatchObject({
    code: "ERR_IO",
    message: expect.stringContaining(cacheDir),
  });
});

test("if the hub cannot be reached, cached files are used", async () => {
  const { files } = repository();
  const folder = await hub.resolve("org/model");
  const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  const closed = await HubServer.start();
  const dead = { HF_ENDPOINT: closed.url };
  await closed.stop();
  expect(await hub.resolve("org/model", {}, dead)).toBe(folder);
  expect(warn).toHaveBeenCalledWith(expect.stringContaining("in the cache"), expect.anything());
  await expect(hub.resolve("org/other", { retries: 0 }, dead)).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("ECONNREFUSED"),
  });
  // Access withdrawn: still the cache. A revision that is gone: an error.
  hub.server.repositories.set("org/model", { files, access: { token: "other" } });
  expect(await hub.resolve("org/model")).toBe(folder);
  hub.server.repositories.set("org/model", { files, revisions: { next: commit(1) } });
  await expect(hub.resolve("org/model")).rejects.toMatchObject({ code: "ERR_HUB" });
  warn.mockRestore();
});
