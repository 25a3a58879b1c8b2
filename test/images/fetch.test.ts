import type { LookupAddress, lookup } from "node:dns";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { type FetchOptions, fetchBytes } from "../../lib/images/fetch.js";
import { loadImage } from "../../lib/images/index.js";
import { expectError, recordedBytes } from "./fixtures.js";

const picture = recordedBytes("rgb.png");
const expected = await loadImage(picture);
const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** Starts a server on a loopback address and returns its origin. */
async function serve(handler: RequestListener, host = "127.0.0.1"): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return `http://${host}:${(server.address() as AddressInfo).port}`;
}

const limits: FetchOptions = { maxBytes: 1e6, timeoutMs: 5000, allowPrivateAddresses: true };

describe("an image from an http URL", () => {
  it("is the same as from a file, as string and as URL", async () => {
    const origin = await serve((_, response) => response.end(picture));
    expect((await loadImage(`${origin}/a%20b.png?x=1#part`)).equals(expected)).toBe(true);
    expect((await loadImage(new URL("/a.png", origin))).equals(expected)).toBe(true);
  });

  it("may be behind redirects, also relative ones", async () => {
    const other = await serve((_, response) => response.end(picture));
    const origin = await serve((request, response) => {
      const next = { "/1": "2", "/2": "/3?a=b", "/3?a=b": `${other}/end` }[request.url ?? ""];
      response.writeHead([301, 302, 303, 307, 308][Number(request.url?.[1])] ?? 302, { location: next }).end("body");
    });
    expect((await loadImage(`${origin}/1`)).equals(expected)).toBe(true);
  });

  it.each([
    ["gzip", gzipSync(picture)],
    ["deflate", deflateSync(picture)],
    ["br", brotliCompressSync(picture)],
    ["identity", picture],
  ])("may be encoded as %s", async (encoding, body) => {
    const origin = await serve((_, response) => response.setHeader("content-encoding", encoding).end(body));
    expect((await loadImage(origin)).equals(expected)).toBe(true);
  });

  it("is requested with the URL's own credentials, which redirects drop", async () => {
    const seen: (string | undefined)[] = [];
    const other = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.end(picture);
    });
    const origin = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(302, { location: other }).end();
    });
    await loadImage(origin.replace("//", "//me:s%40crt@"));
    expect(seen).toEqual([`Basic ${Buffer.from("me:s@crt").toString("base64")}`, undefined]);
  });
});

describe("a misbehaving server is stopped by the limits", () => {
  it.each([400, 401, 403, 404, 429, 500, 503])("status %s", async (status) => {
    const origin = await serve((_, response) => response.writeHead(status).end(picture));
    await expectError(
      loadImage(`${origin}/a.png`),
      "ERR_DOWNLOAD",
      new RegExp(`/a\\.png: the server answered ${status}`),
    );
  });

  it("a redirect loop", async () => {
    let requests = 0;
    const origin = await serve((_, response) => {
      requests++;
      response.writeHead(302, { location: `/${requests}` }).end();
    });
    await expectError(loadImage(origin), "ERR_DOWNLOAD", /redirected more than 10 times/);
    expect(requests).toBe(11);
  });

  it.each(["file:///etc/passwd", "data:image/png;base64,AAAA", "ftp://example.org/", "javascript:1", "http://"])(
    "a redirect to %s",
    async (location) => {
      const origin = await serve((_, response) => response.writeHead(302, { location }).end());
      await expectError(loadImage(origin), "ERR_DOWNLOAD", /redirects to something that is neither http nor https/);
    },
  );

  it("a body announced too large is not read", async () => {
    let sent = 0;
    const origin = await serve((_, response) => {
      response.writeHead(200, { "content-length": 5e9 });
      response.write(Buffer.alloc(1000));
      sent++;
    });
    await expectError(fetchBytes(new URL(origin), limits), "ERR_DOWNLOAD", /5000000000 bytes.*limit of 1000000/);
    expect(sent).toBe(1);
  });

  it("an endless body without a length", async () => {
    let close = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    const origin = await serve((_, response) => {
      const timer = setInterval(() => response.write(Buffer.alloc(100_000)), 1);
      response.on("close", () => {
        clearInterval(timer);
        close();
      });
    });
    await expectError(fetchBytes(new URL(origin), limits), "ERR_DOWNLOAD", /more bytes than the limit of 1000000/);
    await closed;
  });

  it("a small body that decompresses to a large one", async () => {
    const bomb = gzipSync(Buffer.alloc(50e6));
    expect(bomb.length).toBeLessThan(1e6);
    const origin = await serve((_, response) => response.setHeader("content-encoding", "gzip").end(bomb));
    await expectError(fetchBytes(new URL(origin), limits), "ERR_DOWNLOAD", /more bytes than the limit/);
  });

  it("a broken or unknown compression", async () => {
    const broken = await serve((_, response) => response.setHeader("content-encoding", "gzip").end("not gzip"));
    await expectError(loadImage(broken), "ERR_DOWNLOAD", /incorrect header check/);
    const unknown = await serve((_, response) => response.setHeader("content-encoding", "sdch").end("x"));
    await expectError(loadImage(unknown), "ERR_DOWNLOAD", /encoding that was not asked for \(sdch\)/);
  });

  it("no answer at all", async () => {
    const origin = await serve(() => {});
    await expectError(loadImage(origin, { timeoutMs: 200 }), "ERR_DOWNLOAD", /took longer than 0\.2 s/);
  });

  it("a body that arrives slowly", async () => {
    const origin = await serve((_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write("x"), 20);
      response.on("close", () => clearInterval(timer));
    });
    await expectError(loadImage(origin, { timeoutMs: 300 }), "ERR_DOWNLOAD", /took longer than 0\.3 s/);
  });

  it("slow redirects share one time limit", async () => {
    const origin = await serve((_, response) => setTimeout(() => response.writeHead(302, { location: "/" }).end(), 80));
    // With a limit for each there would be too many of them first.
    await expectError(loadImage(origin, { timeoutMs: 300 }), "ERR_DOWNLOAD", /took longer/);
  });

  it("a connection that breaks in the middle", async () => {
    const origin = await serve((_, response) => {
      response.writeHead(200, { "content-length": 1000 });
      response.write(picture.subarray(0, 100));
      setTimeout(() => response.destroy(), 20);
    });
    await expectError(loadImage(`${origin}/a.png`), "ERR_DOWNLOAD", /cannot fetch .*a\.png: /);
  });

  it("something that is not HTTP", async () => {
    const sockets: Socket[] = [];
    const server = createTcpServer((socket) => {
      sockets.push(socket.on("error", () => {}));
      socket.end("SSH-2.0-OpenSSH_9.6\r\n");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await expectError(loadImage(`http://127.0.0.1:${port}/`), "ERR_DOWNLOAD", /cannot fetch/);
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it("a closed port, and a name that does not resolve", async () => {
    const origin = await serve(() => {});
    servers.pop()?.close();
    await expectError(loadImage(origin), "ERR_DOWNLOAD", /ECONNREFUSED/);
    await expectError(loadImage("http://nowhere.invalid/a.png"), "ERR_DOWNLOAD", /nowhere\.invalid/);
  });

  it("an HTML page, an empty body, half an image", async () => {
    const bodies: Record<string, Buffer | string> = {
      "/html": "<!doctype html><html>Not found</html>",
      "/empty": "",
      "/half": picture.subarray(0, 200),
    };
    const origin = await serve((request, response) => response.end(bodies[request.url ?? ""]));
    await expectError(loadImage(`${origin}/html`), "ERR_IMAGE", /\/html is an HTML page/);
    await expectError(loadImage(`${origin}/empty`), "ERR_IMAGE", /\/empty is empty/);
    await expectError(loadImage(`${origin}/half`), "ERR_IMAGE", /\/half is a PNG image that cannot be decoded/);
  });

  it("an abort closes the connection", async () => {
    const controller = new AbortController();
    let close = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    const origin = await serve((_, response) => {
      response.on("close", close);
      controller.abort();
    });
    await expectError(loadImage(origin, { signal: controller.signal }), "ERR_ABORTED", /aborted/);
    await closed;
  });

  it("errors show neither password nor query", async () => {
    const origin = await serve((_, response) => response.writeHead(404).end());
    const url = `${origin.replace("//", "//me:hunter2@")}/a.png?signature=canary`;
    const error = (await loadImage(url).catch((reason: unknown) => reason)) as Error;
    expect(error.message).toContain("/a.png?…");
    expect(`${error.stack}${JSON.stringify(error)}`).not.toMatch(/hunter2|canary/);
  });
});

describe("with allowPrivateAddresses: false", () => {
  const closed = { allowPrivateAddresses: false };
  const refusal = /not on the public internet/;

  it.each([
    "127.0.0.1",
    "localhost",
    "[::1]",
    "0.0.0.0",
    "0x7f.1",
    "2130706433",
    "017700000001",
    "127.1",
    "[::ffff:127.0.0.1]",
  ])("a server on %s is not connected to", async (host) => {
    let requests = 0;
    const origin = await serve((_, response) => {
      requests++;
      response.end(picture);
    });
    const url = origin.replace("127.0.0.1", host);
    await expectError(loadImage(url, closed), "ERR_DOWNLOAD", refusal);
    expect(requests).toBe(0);
  });

  // In these tests 127.0.0.1 plays the public internet and 127.0.0.2 the private network.
  const isAllowed = (address: string) => address === "127.0.0.1";
  const guarded: FetchOptions = { ...limits, ...closed, isAllowed };
  const resolvingTo = (...answers: string[][]) =>
    ((_: string, __: unknown, callback: (error: null, addresses: LookupAddress[]) => void) => {
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      callback(null, answer?.map((address) => ({ address, family: 4 })) ?? []);
    }) as unknown as typeof lookup;

  it("a public server is", async () => {
    const origin = await serve((_, response) => response.end(picture));
    expect(await fetchBytes(new URL(origin), guarded)).toEqual(picture);
    const named = new URL(origin.replace("127.0.0.1", "public.test"));
    expect(await fetchBytes(named, { ...guarded, lookup: resolvingTo(["127.0.0.1"]) })).toEqual(picture);
  });

  it("a redirect to a private address is refused, by number and by name", async () => {
    let requests = 0;
    const inside = await serve((_, response) => response.end(`${requests++}`), "127.0.0.2");
    for (const location of [inside, inside.replace("127.0.0.2", "inside.test")]) {
      const origin = await serve((_, response) => response.writeHead(302, { location }).end());
      const fetching = fetchBytes(new URL(origin), { ...guarded, lookup: resolvingTo(["127.0.0.2"]) });
      await expectError(fetching, "ERR_DOWNLOAD", refusal);
    }
    expect(requests).toBe(0);
  });

  it("a name that resolves to a private address the second time is refused the second time", async () => {
    let requests = 0;
    const port = new URL(await serve((_, response) => response.end(`${requests++}`), "127.0.0.2")).port;
    const origin = await serve((_, response) => {
      response.writeHead(302, { location: `http://rebind.test:${port}/` }).end();
    });
    const start = new URL(origin.replace("127.0.0.1", "rebind.test"));
    const answers = resolvingTo(["127.0.0.1"], ["127.0.0.2"]);
    await expectError(fetchBytes(start, { ...guarded, lookup: answers }), "ERR_DOWNLOAD", refusal);
    expect(requests).toBe(0);
  });

  it("a name with one private address among public ones is refused", async () => {
    const origin = await serve((_, response) => response.end(picture));
    const named = new URL(origin.replace("127.0.0.1", "both.test"));
    const answers = resolvingTo(["127.0.0.1", "127.0.0.2"]);
    await expectError(fetchBytes(named, { ...guarded, lookup: answers }), "ERR_DOWNLOAD", refusal);
  });

  it("a proxy from the environment is not used", async () => {
    let proxied = 0;
    const proxy = await serve(() => {});
    servers.at(-1)?.on("connect", (_, socket) => {
      proxied++;
      socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    });
    process.env.http_proxy = proxy;
    try {
      await expectError(loadImage("http://10.0.0.1/a.png", closed), "ERR_DOWNLOAD", refusal);
      expect(proxied).toBe(0);
      await expectError(loadImage("http://10.0.0.1/a.png"), "ERR_DOWNLOAD", /502/);
      expect(proxied).toBe(1);
    } finally {
      delete process.env.http_proxy;
    }
  });
});
