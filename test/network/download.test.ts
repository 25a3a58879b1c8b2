import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { downloadFile, type FileDownload } from "../../lib/network/download.js";
import { HttpClient } from "../../lib/network/http-client.js";
import { serve, temporaryFolder } from "../runtime/libtorch/fixtures.js";

const SIZE = 200_000;
const versions = [1, 2].map((version) =>
  Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 7919 * version) & 255)),
);
const [first, second] = versions as [Buffer, Buffer];

/** The file, the requests' Range and If-Range, and what became of it. */
async function fetchFrom(
  handler: (request: IncomingMessage, response: ServerResponse, n: number) => void,
  options: Partial<FileDownload> = {},
) {
  const asked: [string | undefined, unknown][] = [];
  const url = await serve((request, response) => {
    asked.push([request.headers.range, request.headers["if-range"]]);
    handler(request, response, asked.length);
  });
  const client = new HttpClient({ env: {}, retry: { retries: 2, unseen: 0, delay: 1 } });
  onTestFinished(() => client.close());
  const target = join(temporaryFolder(), "folder/file");
  const partial = `${target}.part`;
  const failure = await downloadFile(client, new URL(url), { target, partial, ...options }).then(
    () => undefined,
    (error: Error) => error,
  );
  return { asked, failure, kept: existsSync(partial), content: existsSync(target) ? readFileSync(target) : undefined };
}

function start(request: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
}

function send(request: IncomingMessage, response: ServerResponse, content: Buffer, etag: string, most = SIZE): void {
  const from = start(request);
  const whole = { "content-length": content.length - from, etag };
  if (from > 0)
    response.writeHead(206, { ...whole, "content-range": `bytes ${from}-${content.length - 1}/${content.length}` });
  else response.writeHead(200, whole);
  // Ended, not reset: a reset may overtake what was sent.
  if (from + most < content.length) response.write(content.subarray(from, from + most), () => response.socket?.end());
  else response.end(content.subarray(from));
}

it("a file without a known hash is resumed only in the version that was begun", async () => {
  const same = await fetchFrom((request, response, n) =>
    send(request, response, first, '"1"', n === 1 ? 90_000 : SIZE),
  );
  expect(same.content?.equals(first)).toBe(true);
  expect(same.asked).toEqual([
    [undefined, undefined],
    [expect.stringMatching(/^bytes=[1-9]\d*-$/), '"1"'],
  ]);

  // A server that knows If-Range sends the new version, one that does not is found out by the ETag of its part.
  for (const knows of [true, false]) {
    const { content, asked } = await fetchFrom((request, response, n) => {
      if (n === 1) return send(request, response, first, '"1"', 90_000);
      if (knows) delete request.headers.range;
      send(request, response, second, '"2"');
    });
    expect(content?.equals(second)).toBe(true);
    expect(asked.map(([range]) => range !== undefined)).toEqual(knows ? [false, true] : [false, true, false]);
  }
});

it("where the hash is known it decides, whatever servers call the file", async () => {
  const digest = {
    name: "git hash",
    hex: createHash("sha1").update(`blob ${SIZE}\0`).update(first).digest("hex"),
    start: () => createHash("sha1").update(`blob ${SIZE}\0`),
  };
  const { content, asked } = await fetchFrom(
    (request, response, n) => send(request, response, first, `"${n}"`, n < 3 ? 60_000 : SIZE),
    { digest, size: SIZE },
  );
  expect(content?.equals(first)).toBe(true);
  expect(asked).toHaveLength(3);
  expect(asked.every(([, ifRange]) => ifRange === undefined)).toBe(true);

  const other = await fetchFrom((request, response) => send(request, response, second, '"1"'), { digest, size: SIZE });
  expect(other).toMatchObject({ failure: { problem: "content" }, content: undefined, kept: false });
  expect(other.failure?.message).toMatch(new RegExp(`^its git hash is [0-9a-f]{40}, expected ${digest.hex}$`));
});

it("a file of another size than the one known never gets its name", async () => {
  const short = await fetchFrom((request, response) => send(request, response, first.subarray(0, 100), '"1"'), {
    size: SIZE,
  });
  expect(short).toMatchObject({ failure: { problem: "unreachable" }, content: undefined, kept: true });
  const long = await fetchFrom((request, response) => send(request, response, first, '"1"'), { size: 100 });
  expect(long).toMatchObject({ failure: { problem: "size" }, content: undefined, kept: false });
});

it("an error of the server is told with its answer, and what cannot be written with the file's name", async () => {
  const refused = await fetchFrom((_, response) => response.writeHead(403, { "x-why": "no" }).end());
  expect(refused.failure).toMatchObject({ problem: "status", answer: { status: 403 } });
  expect(refused.asked).toHaveLength(1);
  const file = join(temporaryFolder(), "file");
  writeFileSync(file, "");
  const target = join(file, "below");
  expect(await fetchFrom((request, response) => send(request, response, first, '"1"'), { target })).toMatchObject({
    failure: { code: "ERR_IO", message: expect.stringContaining(target) },
    asked: [],
  });
});
