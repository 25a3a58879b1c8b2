import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { RgbImage } from "../../lib/images/index.js";
import { createServer, type ImageServer } from "../../lib/server/index.js";
import { someOf } from "../helpers/cases.js";
import { png, pngChunk } from "../images/bombs.js";

let server: ImageServer;
let url: URL;
let picture: Buffer;
beforeAll(async () => {
  const image = new RgbImage(8, 8, new Uint8Array(192));
  picture = await image.encode("png");
  const className = "StableDiffusionInstructPix2PixPipeline";
  const edit = { className, run: async () => ({ images: [image], seed: 1 }), dispose: () => {} };
  const options = { bodyTimeout: 1, maxPixels: 10_000, maxBytes: 100_000, places: 8, placesPerClient: 8 };
  server = await createServer({ models: { edit: edit as never }, port: 0, logLevel: "silent", ...options });
  url = new URL(await server.listen());
});
afterAll(() => server.close());

/** What the server answers to bytes, until it closes the connection. */
async function raw(
  bytes: Buffer | string,
  then?: (write: (text: string) => boolean) => Promise<void>,
): Promise<string> {
  const socket = connect(Number(url.port), url.hostname);
  let answer = "";
  socket.setEncoding("utf8").on("data", (text: string) => {
    answer += text;
  });
  const closed = new Promise<void>((resolve) => socket.once("close", resolve).once("error", () => resolve()));
  socket.write(bytes);
  if (then) await then((text) => !socket.destroyed && socket.writable && socket.write(text));
  await closed;
  return answer;
}

const multipart = (parts: string, boundary = "edge") => ({
  method: "POST" as const,
  url: "/edit",
  headers: { host: "localhost", "content-type": `multipart/form-data; boundary=${boundary}` },
  payload: Buffer.from(parts, "latin1"),
});
const valid = () =>
  [
    '--edge\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nmake it red',
    '--edge\r\nContent-Disposition: form-data; name="seed"\r\n\r\n5',
    `--edge\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n${picture.toString("latin1")}`,
    "--edge--\r\n",
  ].join("\r\n");

it("answers mutated multipart bodies without a fault of its own", async () => {
  let state = 7;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const change = (text: string): string => {
    const at = random(text.length);
    const some = text.slice(at, at + 1 + random(80));
    const kinds = [
      () => text.slice(0, at),
      () => text.slice(0, at) + String.fromCharCode(random(256)) + text.slice(at + 1),
      () => text.slice(0, at) + text.slice(at + 1 + random(40)),
      () => text.slice(0, at) + some.repeat(1 + random(50)) + text.slice(at),
      () => text.replaceAll("edge", random(2) ? "EDGE" : "edg"),
      () =>
        text.replace(
          'name="seed"',
          ['name=""', "", 'name="__proto__"', 'name="image"', "name=seed; name=n"][random(5)]!,
        ),
      () => text.replace("\r\n\r\n", random(2) ? "\n\n" : "\r\n"),
      () =>
        text.replace(
          'filename="a.png"',
          `filename="${["../../etc/passwd", "\0", "a".repeat(9999), "%00"][random(4)]}"`,
        ),
    ];
    return kinds[random(kinds.length)]!();
  };
  const statuses = new Map<number, number>();
  for (let i = 0; i < someOf(3000); i++) {
    let body = valid();
    for (let changes = 0; changes <= random(3); changes++) body = change(body);
    const boundary = random(20) === 0 ? ["", '"', "a".repeat(300), "edge; boundary=x"][random(4)] : undefined;
    const { statusCode } = await server.app.inject(multipart(body, boundary));
    statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1);
  }
  expect([...statuses.keys()].filter((status) => status >= 500)).toEqual([]);
  // They were not all refused, and no place was lost.
  expect(statuses.get(200)).toBeGreaterThan(0);
  expect(statuses.get(400)).toBeGreaterThan(0);
  for (let i = 0; i < 10; i++) expect((await server.app.inject(multipart(valid()))).statusCode).toBe(200);
});

it("refuses a form without boundary, also where no body is expected", async () => {
  for (const url of ["/edit", "/sdapi/v1/interrupt"]) {
    const headers = { host: "localhost", "content-type": "multipart/form-data" };
    expect((await server.app.inject({ method: "POST", url, headers })).statusCode).toBe(400);
  }
});

it("answers paths that no route can read as all others, with its own errors", async () => {
  for (const [path, status] of [
    [`/examples/world/${"1".repeat(500)}`, 404],
    ["/v1/models/%zz", 400],
  ] as const) {
    const answer = await server.app.inject({ url: path, headers: { host: "localhost" } });
    expect([path, answer.statusCode]).toEqual([path, status]);
    expect(answer.json().error).toMatchObject({ message: expect.any(String), type: "invalid_request_error" });
    expect(answer.headers["x-request-id"]).toBeTruthy();
  }
});

it("serves no file by any path", async () => {
  for (const path of [
    ...[
      "/../package.json",
      "/..%2fpackage.json",
      "/assets/..%2f..%2f..%2fpackage.json",
      "/assets/%2e%2e/%2e%2e/package.json",
    ],
    ...[
      "/v1/models/..%2f..%2fetc%2fpasswd",
      "//etc/passwd",
      "/examples/world/..%2f1",
      "/%00",
      "/assets/%c0%ae%c0%ae/x",
    ],
  ]) {
    const answer = await raw(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    expect([path, answer.slice(0, 12)]).toEqual([path, expect.stringMatching(/^HTTP\/1\.1 40[04]/)]);
  }
});

it("fetches nothing from private addresses, in whatever form", async () => {
  const hosts = [
    "127.0.0.1",
    "[::1]",
    "localhost",
    "2130706433",
    "0x7f.1",
    "0",
    "169.254.169.254",
    "[::ffff:10.0.0.1]",
    "10.1",
  ];
  for (const host of hosts) {
    const payload = { prompt: "red", image: `http://${host}:${url.port}/` };
    const { statusCode, body } = await server.app.inject({
      method: "POST",
      url: "/edit",
      headers: { host: "localhost" },
      payload,
    });
    expect([host, statusCode]).toEqual([host, 422]);
    expect(body).not.toContain("instruct-pix2pix</title>");
  }
  for (const image of ["file:///etc/passwd", "ftp://localhost/a", "/etc/passwd.png", "data:text/html,x"]) {
    const payload = { prompt: "red", image };
    const { statusCode } = await server.app.inject({
      method: "POST",
      url: "/edit",
      headers: { host: "localhost" },
      payload,
    });
    expect([image, statusCode]).toEqual([image, 400]);
  }
});

it("refuses images that say that they are huge, before they are decoded", async () => {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(60_000, 0);
  header.writeUInt32BE(60_000, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const bomb = Buffer.concat([
    png({}).subarray(0, 8),
    pngChunk("IHDR", header),
    pngChunk("IDAT", Buffer.alloc(1000)),
    pngChunk("IEND"),
  ]);
  const payload = { prompt: "red", image: bomb.toString("base64") };
  const answer = await server.app.inject({ method: "POST", url: "/edit", headers: { host: "localhost" }, payload });
  expect([answer.statusCode, answer.json().error.code]).toEqual([422, "ERR_IMAGE"]);
});

it("closes connections whose headers are too large, or never end", async () => {
  expect(await raw(`GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: ${"a".repeat(40_000)}\r\n\r\n`)).toMatch(
    /^HTTP\/1\.1 431/,
  );
  // A header comes letter by letter (slow loris); the time limit is that of bodies.
  const answer = await raw("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", async (write) => {
    while (write("a")) await delay(100);
  });
  expect(answer).toMatch(/^$|^HTTP\/1\.1 408/);
});
