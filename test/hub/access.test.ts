import { execFileSync } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, expect, test, vi } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { HubHttp, hubFailure } from "../../lib/hub/http.js";
import { hubSettings } from "../../lib/hub/settings.js";
import { readTokenFile } from "../../lib/hub/token-file.js";
import { UploadHttp } from "../../lib/hub/upload-http.js";
import { redirectTarget as httpTarget } from "../../lib/network/url.js";
import { WandbHttp } from "../../lib/tracking/wandb/http.js";
import { pipelineFiles, useHub } from "./fixtures.js";
import { HubServer } from "./server.js";

const hub = useHub();
const CANARY = "hf_CANARYcanaryCANARYcanary0123456789";

afterEach(() => {
  vi.restoreAllMocks();
});

test("a private repository is read with the token of the option, the environment or the file", async () => {
  hub.server.repositories.set("org/private", { files: pipelineFiles(), access: { token: CANARY } });
  await mkdir(hub.scratch, { recursive: true });
  await writeFile(join(hub.scratch, "token"), `${CANARY}\n`);
  await writeFile(join(hub.scratch, "elsewhere"), CANARY);
  const nowhere = join(hub.scratch, "nowhere");
  const ways: [string, object, Record<string, string>][] = [
    ["option", { token: CANARY }, { HF_HOME: nowhere, HF_TOKEN: "hf_wrong" }],
    ["variable", {}, { HF_HOME: nowhere, HF_TOKEN: ` ${CANARY}\n` }],
    ["old variable", {}, { HF_HOME: nowhere, HUGGING_FACE_HUB_TOKEN: CANARY }],
    ["file", {}, {}],
    ["file elsewhere", {}, { HF_HOME: nowhere, HF_TOKEN_PATH: join(hub.scratch, "elsewhere") }],
  ];
  for (const [way, options, env] of ways)
    await hub.resolve("org/private", { cacheDir: join(hub.scratch, way), ...options }, env);
  await expect(hub.resolve("org/private", { token: false })).rejects.toMatchObject({ code: "ERR_HUB" });
  await expect(hub.resolve("org/private", {}, { HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" })).rejects.toMatchObject({
    code: "ERR_HUB",
  });
});

test("a stored token path that is not a regular file does not block", async () => {
  hub.server.repositories.set("org/public", { files: pipelineFiles() });
  await mkdir(hub.scratch, { recursive: true });
  execFileSync("mkfifo", [join(hub.scratch, "pipe")]);
  for (const place of [join(hub.scratch, "pipe"), "/dev/zero", hub.scratch])
    await hub.resolve("org/public", { cacheDir: join(hub.scratch, "cache") }, { HF_TOKEN_PATH: place });
  expect(hub.server.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
});

test("missing access is explained: unknown, private, gated, refused", async () => {
  hub.server.repositories.set("org/private", { files: pipelineFiles(), access: { token: CANARY } });
  hub.server.repositories.set("org/gated", { files: pipelineFiles(), access: "gated" });
  const cases: [string, object, RegExp][] = [
    ["org/unknown", {}, /no such model, or no access \(401\).*HF_TOKEN/],
    ["org/unknown", { token: CANARY }, /no such model, or no access \(404\).*access token/],
    ["org/private", {}, /HF_TOKEN/],
    ["org/gated", {}, new RegExp(`${hub.server.url}/org/gated is gated.*HF_TOKEN`)],
    ["org/gated", { token: CANARY }, /gated.*has no access/],
    ["org/gated", { revision: "v9" }, /no revision "v9"/],
  ];
  for (const [id, options, message] of cases)
    await expect(hub.resolve(id, options), id).rejects.toMatchObject({
      code: "ERR_HUB",
      message: expect.stringMatching(message),
    });
  hub.server.fault = (_, response) => {
    response.writeHead(403, { "x-error-message": "Your plan does not\tallow this" }).end();
    return "handled";
  };
  await expect(hub.resolve("org/private", { token: CANARY })).rejects.toMatchObject({
    message: expect.stringMatching(/access denied \(403: Your plan does not allow this\)/),
  });
});

test("the token goes to the hub alone, not where it redirects to", async () => {
  const files = pipelineFiles();
  hub.server.repositories.set("org/private", { files, access: { token: CANARY } });
  await hub.resolve("org/private", { token: CANARY });
  const stored = hub.server.requests.filter(({ host }) => host === "cdn");
  expect(stored.length).toBeGreaterThan(0);
  expect(stored.map(({ authorization }) => authorization).filter(Boolean)).toEqual([]);
  for (const { host, authorization } of hub.server.requests)
    if (host === "hub") expect(authorization).toBe(`Bearer ${CANARY}`);

  // Nor with a redirected look-up; the next page of a listing is asked of the hub or not at all.
  const other = await HubServer.start();
  try {
    other.repositories.set("org/moved", { files });
    hub.server.repositories.set("org/moved", { files });
    hub.server.fault = (request, response) => {
      if (!request.path.startsWith("/api/models/org/moved") || request.path.includes("/tree/")) return undefined;
      response.writeHead(307, { location: `${other.url}${request.path}` }).end();
      return "handled";
    };
    await hub.resolve("org/moved", { token: CANARY });
    expect(other.asked(/revision/)).toHaveLength(1);
    expect(other.requests.map(({ authorization }) => authorization).filter(Boolean)).toEqual([]);
    other.requests.length = 0;
    const { port } = new URL(hub.server.url);
    for (const elsewhere of [other.url, `http://localhost:${port}`, `https://127.0.0.1:${port}`]) {
      hub.server.fault = (request, response) => {
        if (!request.path.includes("/tree/")) return undefined;
        response.setHeader("link", `<${elsewhere}${request.path}>; rel="next"`);
        response.setHeader("content-type", "application/json");
        response.end("[]");
        return "handled";
      };
      await expect(
        hub.resolve("org/moved", { token: CANARY, cacheDir: join(hub.scratch, "new") }),
      ).rejects.toMatchObject({ code: "ERR_HUB", message: expect.stringContaining("another address than the hub's") });
    }
    expect(other.requests).toEqual([]);
  } finally {
    await other.stop();
  }
});

test("the token is in no error, warning or output, for any answer of the server", async () => {
  const seen: string[] = [];
  for (const name of ["log", "info", "warn", "error", "debug"] as const)
    vi.spyOn(console, name).mockImplementation((...what) => void seen.push(inspect(what)));
  vi.spyOn(process, "emitWarning").mockImplementation((what) => void seen.push(inspect(what)));
  for (const stream of [process.stdout, process.stderr])
    vi.spyOn(stream, "write").mockImplementation((what) => seen.push(String(what)) > 0);

  hub.server.repositories.set("org/private", { files: pipelineFiles(), access: { token: CANARY } });
  await hub.resolve("org/private", { token: CANARY });
  const echo = (status: number) => ({ "x-error-message": `Bearer ${CANARY}`, status });
  const faults: [RegExp, number, string][] = [
    [/./, 401, CANARY],
    [/./, 403, CANARY],
    [/./, 404, JSON.stringify({ error: CANARY })],
    [/./, 400, CANARY],
    [/./, 500, CANARY],
    [/revision/, 200, CANARY],
    [/revision/, 200, JSON.stringify({ sha: CANARY })],
    [/tree/, 200, CANARY],
    [/resolve/, 302, CANARY],
    [/resolve/, 200, CANARY],
  ];
  for (const [path, status, body] of faults)
    for (const cacheDir of [hub.cacheDir, join(hub.scratch, "empty")]) {
      hub.server.fault = (request, response) => {
        if (!path.test(request.path)) return undefined;
        response.writeHead(status, { ...echo(status), location: `/${CANARY}\\`, etag: `"${CANARY}/"` });
        response.end(body);
        return "handled";
      };
      const options = { token: CANARY, retries: 0, cacheDir };
      try {
        await hub.resolve("org/private", options);
      } catch (error) {
        expect(isInstructPix2PixError(error)).toBe(true);
        for (let at = error; at instanceof Error; at = at.cause)
          seen.push(at.message, at.stack ?? "", inspect(at, { depth: 10, showHidden: true }), JSON.stringify(at));
      }
    }
  const dead = { HF_ENDPOINT: "http://127.0.0.1:9" };
  await hub.resolve("org/x", { token: CANARY, retries: 0 }, dead).catch((error) => seen.push(inspect(error)));
  await hub.resolve("org/x", { token: `${CANARY}\u0001` }).catch((error) => seen.push(inspect(error)));
  const settings = await hubSettings({ token: CANARY }, hub.env);
  seen.push(inspect(settings, { showHidden: true, depth: 10 }), JSON.stringify(settings), String(settings.token));
  vi.restoreAllMocks();

  expect(seen.length).toBeGreaterThan(50);
  expect(seen.filter((text) => text.includes(CANARY.slice(3)))).toEqual([]);
});

test("signatures of storage addresses are in no error", async () => {
  hub.server.repositories.set("org/model", { files: pipelineFiles() });
  hub.server.fault = (request, response) => {
    if (request.host !== "cdn") return undefined;
    response.writeHead(500).end();
    return "handled";
  };
  const error = await hub.resolve("org/model", { retries: 0 }).catch((thrown) => thrown);
  expect(error).toMatchObject({ code: "ERR_HUB" });
  expect(inspect(error, { depth: 10 })).not.toContain("signed-secret");
});

test("redirects lead from https to https alone, and to nothing but http", () => {
  const redirectTarget = (...redirect: Parameters<typeof httpTarget>): URL => {
    try {
      return httpTarget(...redirect);
    } catch (error) {
      throw hubFailure(error);
    }
  };
  const from = new URL("https://hub.example/a/b");
  expect(redirectTarget(from, "/c").href).toBe("https://hub.example/c");
  expect(redirectTarget(from, "https://storage.example/c?d").href).toBe("https://storage.example/c?d");
  for (const location of ["http://hub.example/c", "file:///etc/passwd", "data:,x", "ftp://hub.example/c", "https://"])
    expect(() => redirectTarget(from, location), location).toThrow(expect.objectContaining({ code: "ERR_HUB" }));
  expect(redirectTarget(new URL("http://localhost/a"), "http://storage/c").href).toBe("http://storage/c");
  expect(() => redirectTarget(new URL("http://localhost/a"), "file:///c")).toThrow();
});

test("a hub that the token would reach without encryption is warned about by name, once", async () => {
  const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  const connect = async (endpoint: string, token: string | false) => {
    const settings = await hubSettings({ token }, { HF_ENDPOINT: endpoint });
    for (const Http of [HubHttp, UploadHttp]) await new Http(settings, {}, {}).close();
  };
  const safe = [
    "https://hub.example",
    "http://127.0.0.1:8080",
    "http://127.9.9.9",
    "http://[::1]:80",
    "http://localhost",
  ];
  for (const endpoint of safe) await connect(endpoint, CANARY);
  await connect("http://hub.example", false);
  expect(warn).not.toHaveBeenCalled();
  for (const host of ["hub.example:81", "192.168.0.1", "127.0.0.1.example", "localhost.example"]) {
    await connect(`http://${host}/mirror`, CANARY);
    await connect(`http://${host}/mirror`, CANARY);
    expect(warn).toHaveBeenLastCalledWith(
      expect.stringContaining(`HF_ENDPOINT is http://${host}: the access token is sent there without encryption`),
      expect.anything(),
    );
  }
  expect(warn).toHaveBeenCalledTimes(4);

  for (const url of ["https://wandb.example", "http://localhost:8080"]) await new WandbHttp(url, "key", {}).close();
  expect(warn).toHaveBeenCalledTimes(4);
  const http = new WandbHttp("http://wandb.example/base", "key", {});
  expect(warn).toHaveBeenLastCalledWith(
    expect.stringContaining("WANDB_BASE_URL is http://wandb.example: the API key is sent there"),
    expect.anything(),
  );
  await http.close();
});

test("an upload goes to no address without encryption where the hub has one with it", async () => {
  const settings = await hubSettings({ token: CANARY }, { HF_ENDPOINT: "https://hub.example" });
  const http = new UploadHttp(settings, {}, {});
  for (const address of ["http://127.0.0.1:9/storage", "file:///etc/passwd", "http://hub.example/", "https://"])
    await expect(http.request(address, { method: "PUT", body: "x" }), address).rejects.toMatchObject({
      code: "ERR_HUB",
      message: "https://hub.example: the hub gave an invalid upload address",
    });
  await http.close();
  const wandb = new WandbHttp("https://wandb.example", "key", {});
  const { signal } = new AbortController();
  await expect(wandb.upload("http://127.0.0.1:9/x", [], Buffer.from("x"), signal)).rejects.toThrow(
    /no upload URL for a file/,
  );
  await wandb.close();
});

test("a token is read from a file, which others should not be able to read", async () => {
  const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  await mkdir(hub.scratch, { recursive: true });
  const path = join(hub.scratch, "token");
  await writeFile(path, `\n ${CANARY}\r\n`, { mode: 0o600 });
  expect(await readTokenFile(path, "hub_token_file")).toBe(CANARY);
  expect(warn).not.toHaveBeenCalled();
  if (process.platform !== "win32") {
    for (const mode of [0o644, 0o640, 0o604]) {
      const shared = `${path}-${mode}`;
      await writeFile(shared, CANARY);
      await chmod(shared, mode);
      for (let times = 0; times < 2; times++) expect(await readTokenFile(shared, "hub_token_file")).toBe(CANARY);
      expect(warn).toHaveBeenLastCalledWith(expect.stringContaining(`${shared}: other users`), expect.anything());
    }
    expect(warn).toHaveBeenCalledTimes(3);
    const pipe = `${path}-pipe`;
    execFileSync("mkfifo", [pipe]);
    const [token] = await Promise.all([readTokenFile(pipe, "hub_token_file"), writeFile(pipe, `${CANARY}\n`)]);
    expect(token).toBe(CANARY);
    expect(warn).toHaveBeenCalledTimes(3);
  }
  const contents = ["", " \n", `${CANARY} and more`, `${CANARY}\n${CANARY}`, "é", "x".repeat(1 << 20), "\0".repeat(99)];
  for (const content of contents) {
    await writeFile(path, content);
    const error = await readTokenFile(path, "hub_token_file").catch((thrown) => thrown);
    expect(error).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining(path) });
    expect(inspect(error)).not.toContain(CANARY.slice(3));
  }
  for (const nothing of [join(hub.scratch, "absent"), hub.scratch])
    await expect(readTokenFile(nothing, "hub_token_file")).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
      message: expect.stringMatching(/^hub_token_file .* cannot be read \((ENOENT|EISDIR)\)$/),
    });
});
