import { readdirSync } from "node:fs";
import { join } from "node:path";
import fastify, { type InjectOptions } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadImage, RgbImage } from "../../lib/images/index.js";
import { packageRoot } from "../../lib/runtime/platform.js";
import { createServer, editsPlugin, type ImageServer } from "../../lib/server/index.js";
import { drawScene, worldExample } from "../../lib/world/index.js";
import { readPngText, withPngText } from "../../web/src/png-text.js";

const pipeline = { className: "StableDiffusionInstructPix2PixPipeline", run: async () => ({}), dispose: () => {} };
const start = (options = {}) =>
  createServer({ models: { none: pipeline as never }, logLevel: "silent", port: 0, ...options });

let server: ImageServer;
beforeAll(async () => {
  server = await start();
});
afterAll(() => server.close());

const get = (url: string, headers: InjectOptions["headers"] = {}) =>
  server.app.inject({ url, headers: { host: "localhost", ...headers } });

describe("the page", () => {
  it("is served with all its files, from here only", async () => {
    const answer = await get("/");
    expect(answer.statusCode).toBe(200);
    expect(answer.headers["content-type"]).toBe("text/html; charset=utf-8");
    const policy = answer.headers["content-security-policy"];
    expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; /);
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    const files = [...answer.body.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, file]) => file!);
    expect(files.length).toBeGreaterThan(2);
    for (const file of files) {
      expect(file).toMatch(/^\.\//);
      expect((await get(file.slice(1))).statusCode, file).toBe(200);
    }
    expect(answer.body).not.toMatch(/<script(?![^>]* src=)|<style| on\w+=/);
  });

  it("is not sent again if it is the same, and what is hashed is kept", async () => {
    const { etag } = (await get("/")).headers;
    expect(await get("/", { "if-none-match": String(etag) })).toMatchObject({ statusCode: 304, body: "" });
    const [script] = readdirSync(join(packageRoot, "dist", "web", "assets"));
    expect((await get(`/assets/${script}`)).headers["cache-control"]).toMatch(/immutable/);
  });

  it.each(["/assets/../index.html", "/..%2fpackage.json", "/assets/..%2f..%2f..%2fpackage.json", "/index.html"])(
    "has no file at %s",
    async (url) => {
      expect((await get(url)).statusCode).toBe(404);
    },
  );

  it("can be left out", async () => {
    await using without = await start({ page: false });
    const answer = await without.app.inject({ url: "/", headers: { host: "localhost" } });
    expect(answer.statusCode).toBe(404);
  });
});

it("an image of the world comes with instructions, always the same for a number", async () => {
  const { b64_json, instructions } = (await get("/examples/world/7")).json();
  expect(instructions).toHaveLength(6);
  expect(instructions[0]).toBe(worldExample(20, 7).edit.instruction);
  const expected = await drawScene(worldExample(20, 7).scene);
  expect(Buffer.from((await loadImage(Buffer.from(b64_json, "base64"))).data)).toEqual(Buffer.from(expected.data));
  for (const number of ["-1", "x", "1e9"]) expect((await get(`/examples/world/${number}`)).statusCode).toBe(400);
});

it("a photograph comes with instructions for it, always the same for a number", async () => {
  const { b64_json, instructions } = (await get("/examples/photos/7")).json();
  expect(new Set(instructions).size).toBe(6);
  const { width, height } = await loadImage(Buffer.from(b64_json, "base64"));
  expect(Math.min(width, height)).toBeGreaterThanOrEqual(200);
  expect((await get("/examples/photos/7")).json()).toEqual({ b64_json, instructions });
  expect((await get("/examples/photos/8")).json().b64_json).not.toBe(b64_json);
  for (const number of ["-1", "x", "1e9"]) expect((await get(`/examples/photos/${number}`)).statusCode).toBe(400);
});

describe("/openapi.json", () => {
  it("describes all routes of the API, with what they validate", async () => {
    const { paths, openapi } = (await get("/openapi.json")).json();
    expect(openapi).toBe("3.1.0");
    const routes: string[] = [];
    const app = fastify();
    app.addHook("onRoute", ({ method, url, config }) => {
      if (method === "HEAD" || method === "OPTIONS" || config?.doc === null) return;
      routes.push(`${method} ${url.replace("*", "{name}").replace(/:(\w+)/, "{$1}")}`);
    });
    await app.register(editsPlugin, { models: { none: pipeline as never } });
    await app.close();
    expect(routes).toContain("POST /v1/images/edits");
    const described = Object.entries<object>(paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(described.sort()).toEqual(routes.sort());

    const { content } = paths["/v1/images/edits"].post.requestBody;
    expect(content["application/json"].schema.properties.num_inference_steps).toMatchObject({
      ...{ type: "integer", minimum: 1, maximum: 100, default: 20 },
    });
    expect(content["multipart/form-data"].schema.properties.image.format).toBe("binary");
  });
});

describe("texts in PNG files", () => {
  const text = '{"prompt":"make it ❄"}';

  it("are read back, and the image stays as it was", async () => {
    const image = new RgbImage(
      3,
      2,
      new Uint8Array(18).map((_, i) => 13 * i),
    );
    const png = await image.encode("png");
    const written = withPngText(png, "instruct-pix2pix", text);
    expect(readPngText(written, "instruct-pix2pix")).toBe(text);
    expect(Buffer.from((await loadImage(Buffer.from(written))).data)).toEqual(Buffer.from(image.data));
    // libspng, which reads the checksums, too.
    const { comments } = await (await import("sharp")).default(Buffer.from(written), { failOn: "warning" }).metadata();
    expect(comments).toEqual([{ keyword: "instruct-pix2pix", text }]);
  });

  it("are none in other files, nor in those that break off", async () => {
    const png = await new RgbImage(1, 1, new Uint8Array(3)).encode("png");
    expect(readPngText(png, "instruct-pix2pix")).toBeUndefined();
    const written = withPngText(png, "instruct-pix2pix", text);
    expect(readPngText(written, "instruct")).toBeUndefined();
    for (let length = 0; length < 90; length++)
      expect(readPngText(written.subarray(0, length), "instruct-pix2pix")).toBeUndefined();
  });
});
