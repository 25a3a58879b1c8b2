import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { loadImage } from "../../lib/images/index.js";
import { createAccess } from "../../lib/server/access/access.js";
import { clientOf } from "../../lib/server/access/clients.js";
import { createServer, type ImageServer, type ServerOptions } from "../../lib/server/index.js";
import { resolveServerOptions } from "../../lib/server/options.js";

// The server in this process, with a pipeline that computes nothing.
const folder = mkdtempSync(join(tmpdir(), "ip2p-access-"));
const encoded = { encode: async () => Buffer.from("an image") };
const pipelineOf = (picture: object) =>
  ({
    className: "StableDiffusionInstructPix2PixPipeline",
    run: async () => ({ images: [picture], seed: 1 }),
    dispose: () => {},
  }) as never;

let server: ImageServer | undefined;
let port = 0;
afterEach(async () => {
  server?.app.server.closeAllConnections();
  await server?.close();
  server = undefined;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const accessOf = (options: ServerOptions) => createAccess(resolveServerOptions(options));

async function start(options: ServerOptions = {}, picture: object = encoded): Promise<void> {
  server = await createServer({ models: { none: pipelineOf(picture) }, logLevel: "silent", port: 0, ...options });
  await server.listen();
  port = (server.app.server.address() as AddressInfo).port;
}

/** A connection of its own on which the text is sent. */
function open(text: string, localAddress = "127.0.0.1") {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  socket.on("error", () => {});
  let received = "";
  const answered = new Promise<string>((resolve) => {
    const take = () => {
      const length = /content-length: (\d+)/i.exec(received)?.[1];
      const body = received.split("\r\n\r\n")[1];
      if (length !== undefined && body !== undefined && body.length >= Number(length)) resolve(received);
    };
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      received += chunk;
      take();
    });
    socket.on("close", () => resolve(received));
  });
  socket.write(text, "latin1");
  return { socket, answered };
}

/** The status, code and headers of the answer to a text. */
async function ask(text: string, localAddress?: string) {
  const { socket, answered } = open(text, localAddress);
  const answer = await answered;
  socket.destroy();
  return { status: Number(answer.split(" ")[1]), answer };
}

function post(type: string, body: string, { length = body.length, headers = "" } = {}): string {
  return `POST /edit HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n${headers}\r\n${body}`;
}

const get = (path: string, headers: string) => ask(`GET ${path} HTTP/1.1\r\n${headers}\r\nconnection: close\r\n\r\n`);

async function figure(name: string): Promise<number> {
  const { answer } = await get("/metrics", "host: localhost");
  return Number(new RegExp(`^${name.replace(/[{}]/g, "\\$&")} (\\d+)`, "m").exec(answer)?.[1] ?? 0);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries > 3000) throw new Error(`it did not come: ${condition}`);
    await delay(10);
  }
}

const PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const MULTIPART = "multipart/form-data; boundary=x";
const field = (name: string, text: string) =>
  `--x\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${text}\r\n`;
const whole = `${field("prompt", "p")}${field("image", PICTURE)}--x--\r\n`;
const idle = post("application/json", "{", { length: 1000 });

describe("a body that is not whole", () => {
  it("is the client's mistake wherever it breaks off", async () => {
    await start();
    expect((await ask(post(MULTIPART, whole))).status).toBe(200);
    // Behind the hyphens that end it nothing is missing.
    for (let length = 0; length < whole.length - 4; length++) {
      const { status, answer } = await ask(post(MULTIPART, whole.slice(0, length)));
      expect(status, `after ${length} characters: ${answer}`).toBe(400);
      expect(JSON.parse(answer.split("\r\n\r\n")[1]!)).toEqual({
        error: {
          code: expect.any(String),
          message: expect.any(String),
          type: "invalid_request_error",
          param: expect.toSatisfy(() => true),
        },
      });
    }
    const file = '--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nabc';
    const json = JSON.stringify({ image: PICTURE, prompt: "p" });
    for (const text of [
      post(MULTIPART, file),
      post(MULTIPART, `${field("prompt", "p")}${file}\r\n--x`),
      post("multipart/form-data", whole),
      post("multipart/form-data; boundary=", whole),
      post("multipart/form-data; boundary=y", whole),
      post("multipart/form-data; boundary=x; boundary=y", file),
      post(MULTIPART, "nothing of the kind"),
      post("application/json", json.slice(0, -1)),
      post("application/json", json.slice(0, 20)),
      post("application/json", ""),
    ])
      expect((await ask(text)).status, text).toBe(400);
    expect(await figure('ip2p_responses_total{status="500"}')).toBe(0);
  });

  it("frees its place when its connection closes, and is no fault of the server", async () => {
    await start({ placesPerClient: 64 });
    const file = '--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nabc';
    for (const text of [idle, post(MULTIPART, "--x", { length: 900 }), post(MULTIPART, file, { length: 900 })])
      for (const end of ["end", "destroy", "resetAndDestroy"] as const) {
        const { socket } = open(text);
        await until(async () => (await figure("ip2p_num_requests_inside")) === 1);
        socket[end]();
        await until(async () => (await figure("ip2p_num_requests_inside")) === 0);
        socket.destroy();
      }
    expect(await figure('ip2p_responses_total{status="500"}')).toBe(0);
  });

  it("has a time limit, whether nothing arrives or little by little", async () => {
    await start({ bodyTimeout: 1, places: 3 });
    const trickle = open(post("application/json", "{", { length: 1e6 }));
    const timer = setInterval(() => trickle.socket.write(" "), 20);
    const uploads = [open(idle), open(post(MULTIPART, field("prompt", "p"), { length: 1e6 })), trickle];
    await until(async () => (await figure("ip2p_num_requests_inside")) === 3);
    expect((await ask(post(MULTIPART, whole))).status).toBe(429);
    for (const { answered } of uploads) {
      const answer = await answered;
      expect(answer).toMatch(/^HTTP\/1\.1 408 .*connection: close.*"the body took longer.*"ERR_TIMEOUT"/is);
    }
    clearInterval(timer);
    await until(async () => (await figure("ip2p_num_requests_inside")) === 0);
    expect((await ask(post(MULTIPART, whole))).status).toBe(200);
  });

  it("takes no place and no memory if it is empty", async () => {
    await start();
    const lost = post(MULTIPART, "--x", { length: 1e6 }).replace("/edit", "/other");
    expect(await ask(lost)).toMatchObject({ status: 404, answer: expect.stringMatching(/"ERR_NOT_FOUND"/) });
  });
});

it("a response that its client does not read ends at the request's time limit", async () => {
  const large = { encode: async () => Buffer.alloc(64 << 20) };
  await start({ timeout: 1 }, large);
  const { socket, answered } = open(post(MULTIPART, whole));
  socket.pause();
  await until(async () => (await figure("ip2p_num_requests_inside")) === 1);
  await until(async () => (await figure("ip2p_num_requests_inside")) === 0);
  expect(await figure('ip2p_responses_total{status="499"}')).toBe(1);
  socket.resume();
  await answered;
});

it("an image that is decoded for a request that has ended holds a place until its decoder ends", async () => {
  await start({ places: 1 });
  // A decoder whose end is ours to say, in the shape of a sharp pipeline.
  let end = (_: Error) => {};
  const decoder = {
    toBuffer: () =>
      new Promise((_, reject) => {
        end = reject;
      }),
    ...Object.fromEntries(
      ["clone", "timeout", "autoOrient", "removeAlpha", "toColourspace", "raw"].map((name) => [name, () => decoder]),
    ),
  };
  const abort = new AbortController();
  const loading = loadImage(decoder as never, { signal: abort.signal });
  await until(async () => (await figure("ip2p_num_requests_inside")) === 1);
  abort.abort();
  await expect(loading).rejects.toMatchObject({ code: "ERR_ABORTED" });
  expect(await figure("ip2p_num_requests_inside")).toBe(1);
  expect((await ask(post(MULTIPART, whole))).status).toBe(429);
  end(new Error("the end"));
  await until(async () => (await figure("ip2p_num_requests_inside")) === 0);
  expect((await ask(post(MULTIPART, whole))).status).toBe(200);
  expect((await ask(post("application/json", '{"image":"no image","prompt":"p"}'))).status).toBe(400);
  expect(await figure("ip2p_num_requests_inside")).toBe(0);
});

describe("places of one client", () => {
  const forwarded = (address: string) =>
    post("application/json", "{", { length: 1000, headers: `x-forwarded-for: ${address}\r\n` });
  const inside = (count: number) => until(async () => (await figure("ip2p_num_requests_inside")) === count);

  it("are limited by its address, which a header does not change", async () => {
    await start({ placesPerClient: 2 });
    const [first] = [open(idle), open(idle)];
    await inside(2);
    const refused = await ask(forwarded("8.8.8.8"));
    expect(refused.answer).toMatch(/^HTTP\/1\.1 429 .*retry-after: \d+\r\n.*"ERR_TOO_MANY_REQUESTS"/is);
    expect((await ask(post(MULTIPART, whole), "127.0.0.2")).status).toBe(200);
    first!.socket.destroy();
    await inside(1);
    expect((await ask(post(MULTIPART, whole))).status).toBe(200);
  });

  it("are counted by the address that a trusted proxy names, and by no other header", async () => {
    await start({ placesPerClient: 1, trustProxy: "127.0.0.1, 10.0.0.0/8" });
    open(forwarded("1.1.1.1, 8.8.8.8, 10.1.1.1"));
    open(forwarded("8.8.4.4"));
    await inside(2);
    expect((await ask(forwarded("8.8.8.8"))).status).toBe(429);
    expect((await ask(forwarded("9.9.9.9, 8.8.8.8"))).status).toBe(429);
    expect((await ask(forwarded("::ffff:8.8.8.8"))).status).toBe(429);
    open(forwarded("2001:db8:1:2::3"));
    await inside(3);
    expect((await ask(forwarded("2001:db8:1:2:ffff::4"))).status).toBe(429);
    open(forwarded("2001:db8:1:3::3"));
    await inside(4);
    // An address that is not the proxy's may say what it likes.
    open(forwarded("7.7.7.7"), "127.0.0.2");
    await inside(5);
    expect((await ask(forwarded("7.7.7.8"), "127.0.0.2")).status).toBe(429);
  });

  it.each([
    ["8.8.8.8", "8.8.8.8"],
    ["8.8.8.8:4567", "8.8.8.8"],
    ["::ffff:8.8.8.8", "8.8.8.8"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["[2001:DB8:1:2::6]:443", "2001:db8:1:2"],
    ["2001:db8::6", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
    ["fe80::1%eth0", "fe80:0:0:0"],
    ["unknown", "127.0.0.1"],
    ["", "127.0.0.1"],
    [undefined, "127.0.0.1"],
  ])("%s is the client %s", (ip, client) => {
    expect(clientOf({ ip, socket: { remoteAddress: "127.0.0.1" } } as never)).toBe(client);
  });
});

describe("a request that was not meant for the server", () => {
  const LOCAL = ["localhost", "localhost:1", "LOCALHOST.", "127.0.0.1", "127.0.0.2:8080", "[::1]", "[::1]:8080"];
  const OTHERS = [
    "evil.test",
    "evil.test:8080",
    "localhost.evil.test",
    "127.0.0.1.evil.test",
    "evil.localhost",
    "evil",
  ];
  const MALFORMED = [
    "",
    "evil.test@localhost",
    "localhost/",
    "localhost#",
    "localhost?",
    "localhost:1:2",
    "::1",
    "[",
    "%",
  ];

  const statusOf = (flags: ServerOptions, headers: object): number => {
    try {
      accessOf({ allowWithoutKey: true, ...flags }).checkHost({ headers } as never);
      return 200;
    } catch (error) {
      return (error as { statusCode: number }).statusCode;
    }
  };

  it.each<[ServerOptions, string[], string[]]>([
    [{}, LOCAL, [...OTHERS, "10.0.0.1", "0.0.0.0", "[2001:db8::1]"]],
    [{ host: "::1" }, LOCAL, [...OTHERS, "10.0.0.1"]],
    [{ host: "localhost" }, LOCAL, [...OTHERS, "10.0.0.1"]],
    [{ host: "0.0.0.0" }, [...LOCAL, "10.0.0.1:80", "[2001:db8::1]"], OTHERS],
    [{ host: "::" }, [...LOCAL, "10.0.0.1:80", "[2001:db8::1]"], OTHERS],
    [{ host: "box.lan" }, [...LOCAL, "box.lan", "BOX.lan:80", "10.0.0.1"], [...OTHERS, "a.box.lan"]],
    [{ allowedHosts: "evil, evil.test" }, [...LOCAL, "evil", "Evil.test.:80"], ["a.evil.test", "10.0.0.1"]],
    [{ allowedHosts: "*" }, [...LOCAL, ...OTHERS], []],
  ])("is known by its Host with %j", (flags, known, unknown) => {
    for (const host of known) expect(statusOf(flags, { host }), host).toBe(200);
    for (const host of unknown) expect(statusOf(flags, { host }), host).toBe(421);
    for (const host of MALFORMED) expect(statusOf(flags, { host }), host).toBe(400);
    expect(statusOf(flags, {})).toBe(400);
  });

  it("is recognised by its Origin", () => {
    const host = "localhost:8080";
    const check = (origin: string, flags = {}) => statusOf(flags, { host, origin });
    for (const origin of ["http://localhost:8080", "https://localhost:8080"]) expect(check(origin)).toBe(200);
    const others = [
      "http://evil.test",
      "http://localhost",
      "http://localhost:8081",
      "http://127.0.0.1:8080",
      "null",
      "",
    ];
    for (const origin of [...others, "file://", "localhost:8080", "ftp://localhost:8080"])
      expect(check(origin)).toBe(403);
    const allowed = { allowedOrigins: "https://a.test, http://b.test:80/" };
    for (const origin of ["https://a.test", "http://b.test"]) expect(check(origin, allowed)).toBe(200);
    for (const origin of ["http://a.test", "https://a.test:444"]) expect(check(origin, allowed)).toBe(403);
    expect(statusOf({ host: "0.0.0.0" }, { host: "10.0.0.1", origin: "https://10.0.0.1" })).toBe(200);
  });

  it("is refused before its body is read", async () => {
    await start();
    const body = post(MULTIPART, "", { length: 1000, headers: "origin: http://evil.test\r\n" });
    expect(await ask(body)).toMatchObject({ status: 403, answer: expect.stringMatching(/"ERR_ORIGIN"/) });
    expect((await ask(body.replace("localhost", "evil.test"))).status).toBe(421);
    expect((await ask("POST /edit HTTP/1.0\r\ncontent-length: 9\r\n\r\n")).status).toBe(400);
  });
});

describe("health and metrics", () => {
  it("health is public and says only that the server runs; the metrics are for this machine", async () => {
    await start();
    const { answer } = await get(
      "/health/live",
      "host: balancer.test\r\norigin: http://evil.test\r\nx-forwarded-for: 8.8.8.8",
    );
    expect(answer.split("\r\n\r\n")[1]).toBe('{"status":"ok"}');
    expect((await get("/metrics", "host: localhost")).status).toBe(200);
    for (const header of [
      "x-forwarded-for: 127.0.0.1",
      "forwarded: for=127.0.0.1",
      "x-real-ip: 127.0.0.1",
      "via: 1.1 a",
    ])
      expect((await get("/metrics", `host: localhost\r\n${header}`)).status, header).toBe(403);
    expect((await get("/metrics", "host: evil.test")).status).toBe(421);
    expect((await get("/metrics", "host: localhost\r\norigin: http://evil.test")).status).toBe(403);
  });

  it("are for programs on this machine by their address, or for clients with the token", () => {
    const file = join(folder, "token");
    writeFileSync(file, "secret\n");
    const allows = (flags: ServerOptions, remoteAddress: string | undefined, headers = {}) => {
      try {
        accessOf(flags).checkMetrics({ socket: { remoteAddress }, headers } as never);
        return true;
      } catch {
        return false;
      }
    };
    for (const address of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) expect(allows({}, address)).toBe(true);
    for (const address of ["10.0.0.1", "8.8.8.8", "fe80::1", "::ffff:10.0.0.1", "", undefined])
      expect(allows({}, address)).toBe(false);
    const token = { metricsTokenFile: file };
    expect(allows(token, "8.8.8.8", { authorization: "Bearer secret" })).toBe(true);
    for (const authorization of [undefined, "", "Bearer", "Bearer ", "Bearer secre", "Basic secret", "secret"])
      expect(allows(token, "127.0.0.1", { authorization })).toBe(false);
  });
});

describe("keys", () => {
  const key = "0123456789abcdef";
  const file = join(folder, "keys");
  const asking = (authorization?: string) =>
    post("application/json", '{"prompt":"p"}', { headers: authorization ? `authorization: ${authorization}\r\n` : "" });

  it("are needed for everything but health, before a body is read, and tell clients apart", async () => {
    writeFileSync(file, `# of two clients\n${key}\nfedcba9876543210\n`);
    await start({ apiKeysFile: file, placesPerClient: 1 });
    for (const wrong of [undefined, "Bearer", `Basic ${key}`, "Bearer 0123456789abcdeF", `Bearer ${key}0`])
      expect(await ask(asking(wrong)), wrong).toMatchObject({
        status: 401,
        answer: expect.stringMatching(/"authentication_error"/),
      });
    expect((await get("/v1/models", "host: localhost")).status).toBe(401);
    expect((await get("/health/ready", "host: localhost")).status).toBe(200);
    const right = `authorization: Bearer ${key}\r\n`;
    open(post("application/json", "{", { length: 1000, headers: right }));
    await until(async () => (await figure("ip2p_num_requests_inside")) === 1);
    expect((await ask(asking(`Bearer ${key}`))).status).toBe(429);
    expect((await ask(asking("Bearer fedcba9876543210"))).status).toBe(400);
    const listed = await get("/v1/models", `host: localhost\r\nauthorization: Bearer ${key}`);
    expect(JSON.parse(listed.answer.split("\r\n\r\n")[1]!)).toMatchObject({ object: "list", data: [{ id: "none" }] });
  });

  it("are needed to listen elsewhere, unless that is allowed", () => {
    writeFileSync(file, key);
    for (const host of ["127.0.0.1", "::1", "localhost"]) expect(() => accessOf({ host })).not.toThrow();
    for (const host of ["0.0.0.0", "::", "box.lan", "10.0.0.1"]) {
      expect(() => accessOf({ host })).toThrow(/give apiKeysFile, or allowWithoutKey/);
      expect(() => accessOf({ host, allowWithoutKey: true })).not.toThrow();
      expect(() => accessOf({ host, apiKeysFile: file })).not.toThrow();
    }
  });

  it("are long enough not to be guessed", () => {
    writeFileSync(file, `${key}\nshort\n`);
    expect(() => accessOf({ apiKeysFile: file })).toThrow(/fewer than 16 characters/);
  });
});

describe("a request's id", () => {
  const idOf = ({ answer }: { answer: string }) => /x-request-id: (.*)\r/i.exec(answer)?.[1];

  it("is the client's if it is plain, and in every answer", async () => {
    await start();
    const health = (id: string) => get("/health/live", `host: localhost\r\nx-request-id: ${id}`);
    expect(idOf(await health("a-b.c:1"))).toBe("a-b.c:1");
    expect(idOf(await health("a b"))).toMatch(/^[\da-f-]{36}$/);
    expect(idOf(await ask(post("application/json", "{}")))).toMatch(/^[\da-f-]{36}$/);
    expect(idOf(await get("/nothing", "host: localhost"))).toMatch(/^[\da-f-]{36}$/);
  });
});

it.each<[ServerOptions, RegExp]>([
  [{ trustProxy: "true" }, /trustProxy holds "true"/],
  [{ trustProxy: "loopback, 10.0.0.0/33" }, /trustProxy holds "10\.0\.0\.0\/33"/],
  [{ trustProxy: "10.0.0.0/0" }, /trustProxy/],
  [{ trustProxy: "*" }, /trustProxy/],
  [{ allowedOrigins: "example.org" }, /allowedOrigins holds "example\.org"/],
  [{ allowedOrigins: "*" }, /allowedOrigins/],
  [{ metricsTokenFile: "/nonexistent/token" }, /metricsTokenFile: \/nonexistent\/token cannot be read/],
  [{ metricsTokenFile: "/dev/null" }, /metricsTokenFile: \/dev\/null is empty/],
  [{ apiKeysFile: "/nonexistent/keys" }, /apiKeysFile: \/nonexistent\/keys cannot be read/],
  [{ placesPerClient: 0 }, /placesPerClient takes a whole number/],
  [{ bodyTimeout: 0 }, /bodyTimeout takes a whole number/],
])("the option %j is refused by its name", async (options, message) => {
  const refusal = { code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(message) };
  await expect(createServer({ models: { none: pipelineOf(encoded) }, ...options })).rejects.toMatchObject(refusal);
});
