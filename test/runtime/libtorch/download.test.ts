import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { type DownloadOptions, download } from "../../../lib/runtime/libtorch/download.js";
import { SourceUnavailable } from "../../../lib/runtime/libtorch/progress.js";
import { serve, sha256, temporaryFolder, writeTree } from "./fixtures.js";

const content = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7919 + (i >> 8)) & 0xff));

/** Serves the content as an ordinary server does, ranges included. */
function respond(request: IncomingMessage, response: ServerResponse, body = content): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? Number.NaN);
  if (Number.isNaN(from)) response.writeHead(200, { "content-length": body.length }).end(body);
  else if (from >= body.length) response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
  else
    response
      .writeHead(206, {
        "content-length": body.length - from,
        "content-range": `bytes ${from}-${body.length - 1}/${body.length}`,
      })
      .end(body.subarray(from));
}

/** Sends the first bytes of the requested file and then breaks the connection. */
function breakAfter(bytes: number, request: IncomingMessage, response: ServerResponse): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const head = { "content-length": content.length - from };
  if (from > 0) Object.assign(head, { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` });
  response.writeHead(from > 0 ? 206 : 200, head);
  response.write(content.subarray(from, from + bytes), () => setTimeout(() => response.destroy(), 20));
}

function expectContent(path: string): void {
  expect(readFileSync(path).equals(content)).toBe(true);
}

function options(more: Partial<DownloadOptions> = {}): DownloadOptions & { target: string } {
  return {
    target: join(temporaryFolder(), "folder", "file"),
    sha256: sha256(content),
    maxBytes: content.length,
    env: {},
    retryDelay: 5,
    ...more,
  };
}

describe("a download", () => {
  it("is checked, renamed to its name and reported in bytes", async () => {
    const url = await serve((request, response) => respond(request, response));
    const seen: [number, number | undefined][] = [];
    const to = options({ onProgress: (done, total) => seen.push([done, total]) });
    await download(`${url}/file`, to);
    expectContent(to.target);
    expect(existsSync(`${to.target}.partial`)).toBe(false);
    expect(seen.at(0)).toEqual([0, content.length]);
    expect(seen.at(-1)).toEqual([content.length, content.length]);
  });

  it("follows redirects", async () => {
    const url = await serve((request, response) => {
      if (request.url === "/file") response.writeHead(302, { location: "/elsewhere" }).end();
      else respond(request, response);
    });
    const to = options();
    await download(`${url}/file`, to);
    expectContent(to.target);
  });

  it("that is interrupted resumes where it ended", async () => {
    const ranges: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      ranges.push(request.headers.range);
      if (ranges.length <= 2) breakAfter(50_000, request, response);
      else respond(request, response);
    });
    const to = options();
    await download(`${url}/file`, to);
    expectContent(to.target);
    expect(ranges[0]).toBeUndefined();
    const starts = ranges.slice(1).map((range) => Number(range?.match(/^bytes=(\d+)-$/)?.[1]));
    expect(starts.length).toBe(2);
    expect(starts[0]).toBeGreaterThan(0);
    expect(starts[1]).toBeGreaterThan(starts[0] as number);
  });

  it("is resumed by a later call, also if only the renaming was missing", async () => {
    for (const kept of [70_000, content.length]) {
      const ranges: (string | undefined)[] = [];
      const url = await serve((request, response) => {
        ranges.push(request.headers.range);
        respond(request, response);
      });
      const target = join(temporaryFolder(), "file");
      writeFileSync(`${target}.partial`, content.subarray(0, kept));
      await download(`${url}/file`, options({ target }));
      expectContent(target);
      expect(ranges).toEqual([`bytes=${kept}-`]);
    }
  });

  it("restarts if the partial file is not the beginning of the file", async () => {
    const ranges: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      ranges.push(request.headers.range);
      respond(request, response);
    });
    const target = join(temporaryFolder(), "file");
    writeFileSync(`${target}.partial`, Buffer.alloc(1000));
    await download(`${url}/file`, options({ target }));
    expectContent(target);
    expect(ranges).toEqual(["bytes=1000-", undefined]);
  });

  it("works with a server without range requests", async () => {
    const url = await serve((_, response) => response.writeHead(200).end(content));
    const target = join(temporaryFolder(), "file");
    writeFileSync(`${target}.partial`, content.subarray(0, 5000));
    await download(`${url}/file`, options({ target }));
    expectContent(target);
  });

  it("with other content fails, names both checksums and leaves nothing behind", async () => {
    const other = Buffer.concat([content.subarray(0, -1), Buffer.from([content.at(-1)! ^ 1])]);
    const url = await serve((request, response) => respond(request, response, other));
    const to = options();
    await expect(download(`${url}/file`, to)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: `${url}/file is not the expected file: its sha256 is ${sha256(other)}, expected ${to.sha256}`,
    });
    expect(existsSync(to.target)).toBe(false);
    expect(existsSync(`${to.target}.partial`)).toBe(false);
  });

  it("larger than expected is stopped, whether announced or not, and leaves nothing behind", async () => {
    let sent = 0;
    const more = Buffer.concat([content, Buffer.from("x")]);
    const endless = await serve((request, response) => {
      if (request.url === "/announced") return respond(request, response, more);
      const from = Number(/\d+/.exec(request.headers.range ?? "0")![0]);
      if (from > 0) response.writeHead(206, { "content-range": `bytes ${from}-9/*` });
      const write = () => {
        while (!response.destroyed && response.write(content)) sent += content.length;
      };
      response.on("drain", write);
      write();
    });
    for (const path of ["announced", "endless"])
      for (const kept of [0, 1000, content.length, content.length + 1, 2 * content.length]) {
        const to = options();
        if (kept > 0) writeTree(dirname(to.target), { "file.partial": Buffer.alloc(kept, content) });
        await expect(download(`${endless}/${path}?Signature=x`, to)).rejects.toMatchObject({
          code: "ERR_DOWNLOAD",
          message: `${endless}/${path} is not the expected file: it has more than the ${content.length} bytes that it can have`,
        });
        expect(existsSync(`${to.target}.partial`)).toBe(false);
      }
    expect(sent).toBeLessThan(100 * content.length);
  });

  it("of a missing file, or from an unknown host, is not retried", async () => {
    const url = await serve((_, response) => response.writeHead(404).end("no"));
    // A second attempt would come after an hour.
    const once = { retryDelay: 3_600_000 };
    await expect(download(`${url}/file`, options(once))).rejects.toThrow(
      new SourceUnavailable(`${url}/file: the server answered 404`),
    );
    const port = await unusedPort();
    const refused = download(`http://127.0.0.1:${port}/file`, options(once));
    await expect(refused).rejects.toBeInstanceOf(SourceUnavailable);
    await expect(refused).rejects.toThrow(/ECONNREFUSED/);
  });

  it("from a server with errors is retried a few times", async () => {
    let requests = 0;
    const url = await serve((request, response) => {
      if (++requests === 1) response.writeHead(503).end();
      else respond(request, response);
    });
    const to = options();
    await download(`${url}/file`, to);
    expectContent(to.target);

    const broken = await serve((_, response) => response.writeHead(500).end());
    await expect(download(`${broken}/file`, options({ retries: 1 }))).rejects.toThrow(/the server answered 500/);
  });

  it("from a server that stops sending times out", async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { "content-length": content.length }).write(content.subarray(0, 100));
    });
    await expect(download(`${url}/file`, options({ idleTimeout: 200, retries: 0 }))).rejects.toBeInstanceOf(
      SourceUnavailable,
    );
  });

  it("that is aborted keeps the partial file for the next call", async () => {
    const abort = new AbortController();
    const url = await serve((_, response) => {
      response.writeHead(200, { "content-length": content.length }).write(content.subarray(0, 60_000));
    });
    const to = options({ signal: abort.signal, onProgress: (done) => done === 60_000 && abort.abort() });
    await expect(download(`${url}/file`, to)).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(readFileSync(`${to.target}.partial`)).toEqual(content.subarray(0, 60_000));
  });

  it("goes through a proxy, unless the host is exempt", async () => {
    const url = await serve((request, response) => respond(request, response));
    const connects: (string | undefined)[] = [];
    const proxy = await serve((_, response) => response.writeHead(405).end());
    // A tunnel, as undici asks for.
    const { createServer } = await import("node:http");
    const tunnel = createServer().on("connect", (request, socket) => {
      connects.push(request.url);
      const [host, port] = (request.url as string).split(":") as [string, string];
      const upstream = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        upstream.pipe(socket).pipe(upstream);
      });
    });
    await new Promise<void>((resolve) => tunnel.listen(0, "127.0.0.1", resolve));
    const address = `http://127.0.0.1:${(tunnel.address() as { port: number }).port}`;
    try {
      const to = options({ env: { HTTP_PROXY: address } });
      await download(`${url}/file`, to);
      expectContent(to.target);
      expect(connects).toEqual([new URL(url).host]);
      await download(`${url}/file`, options({ env: { HTTP_PROXY: proxy, NO_PROXY: "127.0.0.1" } }));
    } finally {
      tunnel.closeAllConnections();
      tunnel.close();
    }
  });
});

async function unusedPort(): Promise<number> {
  const { createServer } = await import("node:net");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
