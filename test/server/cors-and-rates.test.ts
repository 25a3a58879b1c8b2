import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createKeys } from "../../lib/server/access/keys.js";
import { Rates } from "../../lib/server/access/rates.js";
import { createServer, type ServerOptions } from "../../lib/server/index.js";

const folder = mkdtempSync(join(tmpdir(), "ip2p-cors-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const keysFile = (text: string) => {
  const file = join(folder, "keys");
  writeFileSync(file, text);
  return file;
};

const image = { encode: async () => Buffer.from("an image") };
const calls: object[] = [];
const pipeline = {
  className: "StableDiffusionInstructPix2PixPipeline",
  run: async (options: object) => {
    calls.push(options);
    return { images: [image], seed: 1 };
  },
  dispose: () => {},
};
const start = (options: ServerOptions) =>
  createServer({ models: { none: pipeline as never }, logLevel: "silent", port: 0, ...options });

const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

describe("pages of other origins", () => {
  const origin = "https://a.test";
  const preflight = {
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
  };

  it("read answers if they are allowed, errors too, and never with credentials", async () => {
    await using server = await start({ allowedOrigins: origin, apiKeysFile: keysFile("0123456789abcdef\n") });
    const ask = (method: "GET" | "OPTIONS", headers: Record<string, string>) =>
      server.app.inject({ method, url: "/v1/models", headers: { host: "localhost", ...headers } });

    const asked = await ask("OPTIONS", preflight);
    expect(asked.statusCode).toBe(204);
    expect(asked.headers).toMatchObject({
      "access-control-allow-origin": origin,
      "access-control-allow-headers": expect.stringContaining("authorization"),
      "access-control-allow-methods": expect.stringContaining("POST"),
    });
    const authorization = "Bearer 0123456789abcdef";
    for (const [headers, status] of [
      [{ origin, authorization }, 200],
      [{ origin }, 401],
    ] as const) {
      const answer = await ask("GET", headers);
      expect(answer.statusCode).toBe(status);
      expect(answer.headers).toMatchObject({ "access-control-allow-origin": origin, vary: "origin" });
      expect(answer.headers).not.toHaveProperty("access-control-allow-credentials");
    }
    // Without an origin nothing is said of one, but caches know that it matters.
    const plain = await ask("GET", { authorization });
    expect(plain.headers).toMatchObject({ vary: "origin" });
    expect(plain.headers).not.toHaveProperty("access-control-allow-origin");

    for (const other of ["https://b.test", "http://a.test", "https://a.test.b.test", "null"])
      for (const answer of [
        await ask("GET", { origin: other, authorization }),
        await ask("OPTIONS", { ...preflight, origin: other }),
      ]) {
        expect(answer.statusCode).toBe(403);
        expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
      }
    expect((await ask("OPTIONS", {})).statusCode).toBe(404);
  });

  it("get no answer to a preflight without a list", async () => {
    await using server = await start({});
    const answer = await server.app.inject({
      method: "OPTIONS",
      url: "/edit",
      headers: { host: "localhost", ...preflight },
    });
    expect(answer.statusCode).toBe(404);
    expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
  });
});

describe("requests in a minute", () => {
  it("are counted for each client, and grow again at their rate", () => {
    let now = 100;
    const rates = new Rates(() => now);
    const take = (client: string, perMinute = 4) => rates.take(client, perMinute);
    for (let i = 0; i < 4; i++) take("a");
    const refused = (seconds: number) =>
      expect.objectContaining({ statusCode: 429, code: "ERR_RATE", retryAfter: seconds });
    expect(() => take("a")).toThrow(refused(15));
    take("b");
    now += 10;
    expect(() => take("a")).toThrow(refused(5));
    now += 5;
    take("a");
    expect(() => take("a")).toThrow(refused(15));
    // No more is saved up than a minute's.
    now += 1000;
    for (let i = 0; i < 4; i++) take("a");
    expect(() => take("a")).toThrow(refused(15));
    for (let i = 0; i < 100; i++) rates.take("c", undefined);
  });

  it("are those of the options, or behind the key", async () => {
    const file = keysFile("0123456789abcdef\nfedcba9876543210 requests_per_minute=2 places=3\n");
    await using server = await start({ apiKeysFile: file, requestsPerMinute: 1 });
    const statuses = async (key: string, count: number) => {
      const found = [];
      for (let i = 0; i < count; i++) {
        const headers = { host: "localhost", authorization: `Bearer ${key}` };
        const answer = await server.app.inject({
          method: "POST",
          url: "/edit",
          headers,
          payload: { prompt: "p", image: PNG },
        });
        found.push(answer.statusCode);
        if (answer.statusCode === 429) expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
      }
      return found;
    };
    expect(await statuses("0123456789abcdef", 2)).toEqual([200, 429]);
    expect(await statuses("fedcba9876543210", 3)).toEqual([200, 200, 429]);
  });

  it.each(["a-second-key-that-is-secret", "places=0", "places=1e3", "rate=3", "0123456789abcdeX"])(
    "a key is not followed by %s",
    (word) => {
      const make = () => createKeys(keysFile(`0123456789abcdef ${word}\n`));
      expect(make).toThrow(/behind a key/);
      expect(make).not.toThrow(word);
    },
  );
});

it("models are warmed up before the server listens", async () => {
  calls.length = 0;
  await using _ = await start({ warmUp: true });
  expect(calls).toEqual([expect.objectContaining({ numInferenceSteps: 1, image: expect.anything() })]);
});
