import { once } from "node:events";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { inspect } from "node:util";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { isPublicAddress } from "../../lib/network/addresses.js";
import { NotConnected } from "../../lib/network/connector.js";
import { retryAfter } from "../../lib/network/failure.js";
import { HttpClient, type HttpPolicy, type ReadRequest } from "../../lib/network/http-client.js";
import { HttpError } from "../../lib/network/http-error.js";
import { serve } from "../runtime/libtorch/fixtures.js";

const pauses: number[] = [];
vi.mock("../../lib/core/sleep.js", () => ({ sleep: async (milliseconds: number) => void pauses.push(milliseconds) }));
beforeEach(() => {
  pauses.length = 0;
});
afterEach(() => vi.useRealTimers());

/** A client without the proxies of this machine. */
function client(policy: HttpPolicy = {}): HttpClient {
  const one = new HttpClient({ env: {}, ...policy });
  onTestFinished(() => one.close());
  return one;
}

/** Reads an address; of a failure returns the error. */
async function read(url: string, request: Partial<ReadRequest> = {}, policy: HttpPolicy = {}) {
  const answer = await client(policy)
    .read(new URL(url), { maxBytes: 1000, ...request })
    .catch((error: unknown) => error);
  if (answer instanceof HttpError) return { problem: answer.problem, message: answer.message, error: answer };
  if (answer instanceof Error) throw answer;
  const { status, bytes, url: answered } = answer as Awaited<ReturnType<HttpClient["read"]>>;
  return { status, text: bytes.toString(), url: answered.href };
}

const body = {
  size: 300_000,
  async *chunks() {
    for (let i = 0; i < 3; i++) yield Buffer.alloc(100_000, i);
  },
};

describe("secrets", () => {
  const secrets = { authorization: "Bearer own", cookie: "a=b", "proxy-authorization": "Basic x", "x-other": "1" };
  /** Two servers; the first sends /N on to the N-th of these addresses. */
  async function servers() {
    const seen: [string, IncomingHttpHeaders][] = [];
    const locations: string[] = [];
    const start = () =>
      serve((request, response) => {
        seen.push([`http://${request.headers.host}`, request.headers]);
        const location = locations.shift();
        response.writeHead(location === undefined ? 200 : 302, location === undefined ? {} : { location }).end();
      });
    return { seen, locations, hub: await start(), other: await start() };
  }

  it("in headers stay with the origin that they were given for", async () => {
    const { seen, locations, hub, other } = await servers();
    locations.push("/same", other, `${hub}/back`);
    await read(hub, { headers: secrets }, { authorize: () => undefined });
    const sent = seen.map(([, headers]) => Object.keys(secrets).filter((name) => name in headers));
    expect(sent).toEqual([Object.keys(secrets), Object.keys(secrets), ["x-other"], ["x-other"]]);
    expect(seen.map(([origin]) => origin)).toEqual([hub, hub, other, hub]);
  });

  it("of the policy are asked for anew at each address", async () => {
    const { seen, locations, hub, other } = await servers();
    locations.push("/same", other, hub.replace("127.0.0.1", "localhost"));
    const policy = { authorize: (url: URL) => (url.origin === hub ? "Bearer token" : undefined) };
    await read(hub, {}, policy);
    await read(hub, { authorized: false }, policy);
    expect(seen.map(([, { authorization }]) => authorization)).toEqual([
      ...["Bearer token", "Bearer token", undefined, undefined],
      undefined,
    ]);
  });

  it("of an address are not in an error, nor in what is printed of it", async () => {
    const url = await serve((request, response) =>
      request.url?.startsWith("/found") ? response.writeHead(503).end() : request.socket.destroy(),
    );
    const secret = `${url.replace("//", "//me:canary@")}/x?signature=canary`;
    for (const address of [secret, secret.replace("/x", "/found")]) {
      const { error } = await read(address, {}, { retry: { retries: 0, unseen: 0, delay: 1 } });
      expect(error?.url.search).toBe("?signature=canary");
      expect(inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error)).not.toContain("canary");
    }
  });
});

describe("redirects", () => {
  it("are the answer where the policy or the request says so", async () => {
    const other = await serve((_, response) => response.end("other"));
    const url = await serve((request, response) => {
      response.writeHead(302, { location: request.url === "/a" ? "/b" : other }).end("moved");
    });
    expect(await read(`${url}/a`)).toMatchObject({ status: 200, text: "other", url: `${other}/` });
    expect(await read(`${url}/a`, {}, { redirects: "none" })).toMatchObject({ status: 302, url: `${url}/a` });
    const within = (to: URL) => to.origin === url;
    expect(await read(`${url}/a`, { within })).toMatchObject({ status: 302, text: "", url: `${url}/b` });
  });

  it("of a body are followed only where it is sent again, and its bytes are counted once", async () => {
    const methods: string[] = [];
    const url = await serve(async (request, response) => {
      const sent = (await text(request)).length;
      methods.push(`${request.method} ${request.url} ${sent}`);
      const status = Number(request.url?.slice(1)) || 200;
      response.writeHead(status, status === 200 ? {} : { location: "/end" }).end();
    });
    const counts: number[] = [];
    const onSent = (bytes: number) => counts.push(bytes);
    for (const [status, end] of [
      [302, 302],
      [303, 303],
      [307, 200],
      [308, 200],
    ]) {
      counts.length = 0;
      expect(await read(`${url}/${status}`, { method: "PUT", body, onSent })).toMatchObject({ status: end });
      expect(counts.reduce((sum, bytes) => sum + bytes)).toBe(body.size);
    }
    expect(methods).toEqual(["/302", "/303", "/307", "/end", "/308", "/end"].map((path) => `PUT ${path} ${body.size}`));
  });
});

describe("limits", () => {
  it("hold for answers and for explanations of errors, also compressed ones", async () => {
    const url = await serve((request, response) => {
      const [, status, encoding, length] = request.url!.split("/");
      const content = Buffer.alloc(Number(length), "x");
      if (encoding === "gzip") response.setHeader("content-encoding", "gzip");
      response.writeHead(Number(status));
      response.end(encoding === "gzip" ? gzipSync(content) : content);
    });
    for (const encoding of ["plain", "gzip"]) {
      expect(await read(`${url}/200/${encoding}/1000`)).toMatchObject({ text: "x".repeat(1000) });
      expect(await read(`${url}/200/${encoding}/1001`)).toMatchObject({ problem: "size" });
      const most = { maxErrorBytes: 10 };
      expect(await read(`${url}/403/${encoding}/10`, most)).toMatchObject({ status: 403, text: "x".repeat(10) });
      expect(await read(`${url}/403/${encoding}/11`, most)).toMatchObject({ status: 403, text: "" });
      expect(await read(`${url}/403/${encoding}/10`)).toMatchObject({ status: 403, text: "" });
    }
  });

  it("on time hold for all attempts together", async () => {
    let requests = 0;
    const url = await serve((_, response) => {
      if (++requests < 3) response.writeHead(503).end();
    });
    const retry = { retries: 100, unseen: 100, delay: 1 };
    expect(await read(url, { timeoutMs: 300 }, { retry })).toMatchObject({
      problem: "timeout",
      message: "it took longer than 0.3 s",
    });
    expect(requests).toBe(3);
  });

  it("on silence make another attempt", async () => {
    let requests = 0;
    const url = await serve((_, response) => {
      if (++requests === 1) response.writeHead(200).write("x");
      else if (requests > 2) response.end("end");
    });
    const retry = { retries: 2, unseen: 0, delay: 1 };
    expect(await read(url, {}, { idleTimeout: 200, retry })).toMatchObject({ text: "end" });
    expect(requests).toBe(3);
  });
});

describe("retries", () => {
  it("wait as the server asks, else twice as long each time, and never more than half a minute", async () => {
    const asked = ["7", undefined, "0", "nonsense", "3600", "Thu, 01 Jan 1970 00:00:00 GMT", undefined];
    let requests = 0;
    const url = await serve((_, response) => {
      const wait = asked[requests++];
      response.writeHead(requests > asked.length ? 200 : 429, wait === undefined ? {} : { "retry-after": wait }).end();
    });
    const retry = { retries: asked.length, unseen: 0, delay: 500 };
    expect(await read(url, {}, { retry })).toMatchObject({ status: 200 });
    expect(pauses).toEqual([7000, 1000, 2000, 4000, 30_000, 16_000, 30_000]);
  });

  it("understand a date", () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2030, 0, 1) });
    const headers = (value: string) => new Headers({ "retry-after": value });
    expect(retryAfter(headers("Tue, 01 Jan 2030 00:00:05 GMT"))).toBe(5000);
    expect(retryAfter(headers("Mon, 31 Dec 2029 23:59:59 GMT"))).toBeUndefined();
    expect(retryAfter(headers("0.5"))).toBe(500);
    expect(retryAfter(new Headers())).toBeUndefined();
  });

  it("are fewer while there was never an answer, and none without a policy", async () => {
    let connections = 0;
    const url = await serve((request) => {
      connections++;
      request.socket.destroy();
    });
    const unreachable = { problem: "unreachable", message: expect.stringMatching(/^it cannot be reached \(\w+\)$/) };
    expect(await read(url, {}, { retry: { retries: 5, unseen: 2, delay: 1 } })).toMatchObject(unreachable);
    expect(connections).toBe(3);
    expect(await read(url)).toMatchObject(unreachable);
    expect(connections).toBe(4);
    const busy = await serve((_, response) => response.writeHead(503).end());
    expect(await read(busy)).toMatchObject({ status: 503 });
  });

  it("send a streamed body from its start, and take back what was counted", async () => {
    const received: number[] = [];
    const url = await serve(async (request, response) => {
      if (received.push(0) === 1) return void once(request, "data").then(() => request.socket.destroy());
      received[received.length - 1] = (await text(request)).length;
      response.writeHead(received.length === 2 ? 500 : 200).end();
    });
    let counted = 0;
    const counts: number[] = [];
    const onSent = (bytes: number) => {
      counted += bytes;
      counts.push(bytes);
    };
    const policy = { retry: { retries: 3, unseen: 3, delay: 1 } };
    expect(await read(url, { method: "PUT", body, onSent }, policy)).toMatchObject({ status: 200 });
    expect(received.slice(1)).toEqual([body.size, body.size]);
    expect(counted).toBe(body.size);
    expect(Math.min(...counts)).toBe(-body.size);
  });
});

it("an abort is ERR_ABORTED with its reason, before, during and between attempts", async () => {
  let arrived = (_: IncomingMessage) => {};
  const url = await serve((request, response) => {
    arrived(request);
    if (request.url === "/busy") response.writeHead(503).end();
    if (request.url === "/body") response.writeHead(200).write("x");
  });
  for (const path of ["/before", "/silent", "/body", "/busy"]) {
    const stop = new AbortController();
    if (path === "/before") stop.abort(new Error("enough"));
    arrived = () => setTimeout(() => stop.abort(new Error("enough")), 20);
    const policy = { retry: { retries: Number.POSITIVE_INFINITY, unseen: 0, delay: 1 } };
    await expect(read(`${url}${path}`, { signal: stop.signal, timeoutMs: 50_000 }, policy), path).rejects.toMatchObject(
      {
        code: "ERR_ABORTED",
        cause: { message: "enough" },
      },
    );
  }
});

it("an address that is not allowed gets no connection, by number, by name, or through a proxy", async () => {
  let requests = 0;
  const url = await serve((_, response) => response.end(String(requests++)));
  const proxy = await serve((_, response) => response.end(String(requests++)));
  for (const address of [url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "2130706433")]) {
    const { error } = await read(address, {}, { isAllowed: isPublicAddress, env: { HTTP_PROXY: proxy } });
    expect(error?.problem).toBe("unreachable");
    expect(error?.cause).toBeInstanceOf(NotConnected);
  }
  expect(requests).toBe(0);
});
