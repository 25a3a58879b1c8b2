import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import OpenAI, { APIError, toFile } from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  AutoPipelineForText2Image,
  builtInModel,
  InstructPix2PixPipeline,
  loadImage,
  RgbImage,
} from "../../lib/index.js";
import { native } from "../../lib/runtime/native.js";
import { createServer, type ImageServer, type ServerOptions } from "../../lib/server/index.js";
import { ServerProcess } from "../examples/server-process.mjs";
import { fixture, readJson } from "../helpers/fixtures.js";

const picture = readFileSync(fixture("built-in", "picture.png"));
const base64 = picture.toString("base64");
const prompt = "change the background to peach";
/** Long enough to be stopped in the middle. */
const LONG = { prompt, num_inference_steps: 100 };

type Fields = Record<string, string | number | Blob>;

/** An edit as a form; the image is there already. */
function form(fields: Fields): RequestInit {
  const body = new FormData();
  for (const [name, value] of Object.entries({ image: new Blob([picture]), ...fields }))
    if (value instanceof Blob) body.set(name, value, "picture.png");
    else body.set(name, String(value));
  return { method: "POST", body };
}

function json(fields: object): RequestInit {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(fields) };
}

/** Waits for something that the server's figures say. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 200_000; !(await condition()); await delay(5))
    if (performance.now() > end) throw new Error(`it did not come: ${condition}`);
}

async function pixels(encoded: ArrayBuffer | Uint8Array): Promise<Buffer> {
  return Buffer.from((await loadImage(Buffer.from(encoded as ArrayBuffer))).data);
}

let pipe: InstructPix2PixPipeline;
let texts: Awaited<ReturnType<typeof AutoPipelineForText2Image.fromPretrained>>;
beforeAll(async () => {
  await native().setThreads(1);
  pipe = await InstructPix2PixPipeline.fromPretrained(builtInModel, { device: "cpu" });
  texts = await AutoPipelineForText2Image.fromPretrained(fixture("text2img", "model"), { device: "cpu" });
});
afterAll(() => {
  pipe.dispose();
  texts.dispose();
});

/** What the pipeline gives by itself. */
async function alone(seed: number, numInferenceSteps: number): Promise<Buffer> {
  const { images } = await pipe.run({ image: picture, prompt, seed, numInferenceSteps });
  return Buffer.from(images[0]!.data);
}

let server: ImageServer;
let url = "";
/** A server in this process, on the loaded pipelines. */
async function start(options: ServerOptions = {}): Promise<void> {
  server = await createServer({
    models: { edit: pipe, "a/text": texts as never },
    port: 0,
    logLevel: "silent",
    // One after the other, unless a test says otherwise: images to the last bit, and requests that wait.
    concurrency: 1,
    ...options,
  });
  url = await server.listen();
}
const edit = (request: RequestInit, signal?: AbortSignal) => fetch(`${url}/edit`, { ...request, signal });
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(
    text
      .split("\n")
      .find((line) => line.startsWith(`${name} `))
      ?.split(" ")
      .at(-1) ?? 0,
  );
}

describe("one server", () => {
  let client: OpenAI;
  beforeAll(async () => {
    await start({ maxSteps: 50, maxPixels: 10_000, maxBytes: 100_000 });
    client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
  });
  afterAll(() => server.close());

  it("gives the images of the pipeline for the same seed, by a form, base64 and a data URL", async () => {
    const expected = await alone(3, 4);
    const options = { prompt, seed: 3, num_inference_steps: 4 };
    for (const request of [
      form(options),
      json({ ...options, image: base64, negative_prompt: null }),
      json({ ...options, images: [{ image_url: `data:image/png;base64,${base64}` }] }),
    ]) {
      const answer = await edit(request);
      expect(answer.status).toBe(200);
      expect(answer.headers.get("content-type")).toBe("image/png");
      expect(answer.headers.get("x-seed")).toBe("3");
      expect(await pixels(await answer.arrayBuffer())).toEqual(expected);
    }
  });

  it("returns the requested format, and the random seed", async () => {
    const answer = await edit(form({ prompt, num_inference_steps: 1, output_format: "webp" }));
    expect(answer.headers.get("content-type")).toBe("image/webp");
    const seed = Number(answer.headers.get("x-seed"));
    expect(Buffer.from(await answer.arrayBuffer()).toString("latin1", 8, 12)).toBe("WEBP");
    const again = await edit(form({ prompt, num_inference_steps: 1, seed }));
    expect(await pixels(await again.arrayBuffer())).toEqual(await alone(seed, 1));
  });

  /** What our fields add to OpenAI's types. */
  const more = (fields: object) => fields as object;

  it("answers OpenAI's client: an edit, several images, a data URL, the models, errors", async () => {
    const image = await toFile(picture, "picture.png", { type: "image/png" });
    const one = await client.images.edit({ image: [image], prompt, ...more({ seed: 5, num_inference_steps: 2 }) });
    expect(one).toMatchObject({ size: "auto", output_format: "png", background: "opaque", model: "edit", seed: 5 });
    expect(await pixels(Buffer.from(one.data![0]!.b64_json!, "base64"))).toEqual(await alone(5, 2));

    const asUrls = { n: 2, response_format: "url", output_format: "jpeg", output_compression: 0 } as const;
    const two = await client.images.edit({
      image,
      prompt,
      size: "32x48" as never,
      ...asUrls,
      ...more({ num_inference_steps: 1 }),
    });
    expect(two.data).toHaveLength(2);
    for (const { url: data } of two.data!) {
      expect(data).toMatch(/^data:image\/jpeg;base64,/);
      expect(await loadImage(data!)).toMatchObject({ width: 32, height: 48 });
    }

    const names = [];
    for await (const { id } of client.models.list()) names.push(id);
    expect(names).toEqual(["edit", "a/text"]);
    expect((await client.models.retrieve("a/text")).id).toBe("a/text");

    const wrong = client.images.edit({ image, prompt, ...more({ num_inference_steps: 51 }) });
    await expect(wrong).rejects.toMatchObject({
      ...{ status: 400, type: "invalid_request_error", param: "num_inference_steps", code: "ERR_INVALID_ARGUMENT" },
      requestID: expect.stringMatching(/^[\da-f-]{36}$/),
    });
    await expect(wrong).rejects.toBeInstanceOf(APIError);
    const unknown = client.images.generate({ prompt, model: "none" });
    await expect(unknown).rejects.toMatchObject({ status: 404, code: "model_not_found" });
    const edits = client.images.generate({ prompt, model: "edit" });
    await expect(edits).rejects.toMatchObject({
      status: 400,
      message: expect.stringMatching(/cannot make images from text/),
    });
  });

  it("streams to OpenAI's client: previews, then the images", async () => {
    const image = await toFile(picture, "picture.png", { type: "image/png" });
    const options = { stream: true, partial_images: 3, ...more({ seed: 7, num_inference_steps: 4 }) } as const;
    const events = [];
    for await (const event of await client.images.edit({ image, prompt, ...options })) events.push(event);
    expect(events.map(({ type }) => type)).toEqual([
      ...Array(3).fill("image_edit.partial_image"),
      "image_edit.completed",
    ]);
    expect(events.slice(0, 3).map((event) => (event as { partial_image_index: number }).partial_image_index)).toEqual([
      0, 1, 2,
    ]);
    const shown = await Promise.all(events.map(({ b64_json }) => pixels(Buffer.from(b64_json, "base64"))));
    expect(shown.at(-1)).toEqual(await alone(7, 4));
    expect(new Set(shown.map((each) => each.toString("latin1"))).size).toBe(4);

    // The run finds out that the model takes no strength before anything is sent.
    const wrong = client.images.edit({ image, prompt, ...options, ...more({ strength: 0.5 }) });
    await expect(wrong).rejects.toMatchObject({ status: 400, message: expect.stringMatching(/strength/) });
  });

  it("makes images from text, from images and in masks with a text-to-image model", async () => {
    const text = { model: "a/text", ...more({ seed: 2, num_inference_steps: 2, guidance_scale: 3 }) };
    const made = await client.images.generate({ prompt, size: "64x64" as never, ...text });
    const size = { width: 64, height: 64 };
    const { images } = await texts.run({ prompt, ...size, seed: 2, numInferenceSteps: 2, guidanceScale: 3 });
    expect(await pixels(Buffer.from(made.data![0]!.b64_json!, "base64"))).toEqual(Buffer.from(images[0]!.data));

    const scheduler = "DDIMScheduler";
    const image = await toFile(picture, "picture.png");
    const sampled = await client.images.generate({ prompt, size: "64x64" as never, ...text, ...more({ scheduler }) });
    expect(sampled.data![0]!.b64_json).not.toBe(made.data![0]!.b64_json);
    const changed = await client.images.edit({ image, prompt, ...text, ...more({ strength: 0.5 }) });
    expect(await loadImage(Buffer.from(changed.data![0]!.b64_json!, "base64"))).toBeInstanceOf(RgbImage);

    // Transparent where it is painted anew: the right half.
    const rgba = Buffer.alloc(64 * 64 * 4, 255);
    for (let i = 0; i < 64 * 64; i++) if (i % 64 >= 32) rgba[4 * i + 3] = 0;
    const sharp = (await import("sharp")).default;
    const hole = await sharp(rgba, { raw: { width: 64, height: 64, channels: 4 } })
      .png()
      .toBuffer();
    const half = new RgbImage(
      64,
      64,
      new Uint8Array(64 * 64 * 3).map((_, i) => (Math.floor(i / 3) % 64 >= 32 ? 255 : 0)),
    );
    const masks = [hole, await half.encode("png")];
    const painted = await Promise.all(
      masks.map(async (mask) => {
        const options = {
          image: await toFile(picture, "a.png"),
          mask: await toFile(mask, "mask.png"),
          prompt,
          ...text,
        };
        return (await client.images.edit(options)).data![0]!.b64_json;
      }),
    );
    expect(painted[0]).toBe(painted[1]);
    const none = await client.images.edit({ image, prompt, ...text });
    expect(painted[0]).not.toBe(none.data![0]!.b64_json);
  });

  const image = base64;
  it.each<[string, RequestInit, number, RegExp]>([
    ["no prompt", json({ image }), 400, /'prompt'/],
    ["no image", json({ prompt }), 400, /give one image/],
    ["two images", json({ prompt, image: [image, image] }), 400, /give one image/],
    ["an option that there is not", json({ image, prompt, steps: 3 }), 400, /steps/],
    [
      "more steps than allowed",
      json({ image, prompt, num_inference_steps: 51 }),
      400,
      /num_inference_steps must be <= 50/,
    ],
    ["more images than allowed", json({ image, prompt, n: 5 }), 400, /n must be <= 4/],
    ["a size that is none", json({ image, prompt, size: "64" }), 400, /size/],
    ["a size that is too large", json({ image, prompt, size: "101x100" }), 400, /10100 pixels/],
    ["a scheduler that there is not", json({ image, prompt, scheduler: "Euler" }), 400, /EulerDiscreteScheduler/],
    ["transparent images", json({ image, prompt, background: "transparent" }), 400, /background/],
    ["a mask for a model that takes none", json({ image, prompt, mask: image }), 400, /cannot paint/],
    ["a seed that is no number", form({ prompt, seed: "x" }), 400, /seed/],
    ["a format that there is not", form({ prompt, output_format: "bmp" }), 400, /output_format.*png, jpeg, webp/],
    ["a prompt that is too long", form({ prompt: "a".repeat(4001) }), 400, /prompt/],
    ["a file of the server", json({ image: "file:///etc/hostname", prompt }), 400, /image is/],
    ["a path", json({ image: "/etc/hostname.png", prompt }), 400, /image is/],
    ["a private address", json({ image: "http://127.0.0.1:1/a.png", prompt }), 422, /private addresses/],
    ["a name of a private address", json({ image: "http://localhost:1/a.png", prompt }), 422, /private addresses/],
    ["what is no image", form({ prompt, image: new Blob(["text"]) }), 422, /image/],
    ["more bytes than allowed", form({ prompt, image: new Blob([Buffer.alloc(100_001)]) }), 413, /too large/],
    ["more JSON than allowed", json({ image: "a".repeat(3 << 20), prompt }), 413, /too large/],
    ["no JSON", { ...json({}), body: "{" }, 400, /JSON/],
    ["another kind of body", { method: "POST", body: "text" }, 415, /Media Type/],
  ])("refuses %s", async (_, request, status, message) => {
    const answer = await edit(request);
    const body = await answer.text();
    expect({ status: answer.status, body }).toEqual({ status, body: expect.stringMatching(message) });
    expect(JSON.parse(body).error).toMatchObject({
      code: expect.stringMatching(/^[A-Z0-9_]+$/),
      message: expect.any(String),
    });
  });

  it("refuses an image of too many pixels before it decodes it", async () => {
    const large = await (await loadImage(picture)).resize(101, 100, "nearest").then((each) => each.encode("png"));
    const answer = await edit(form({ prompt, image: new Blob([new Uint8Array(large)]) }));
    expect(answer.status).toBe(422);
    expect(await answer.text()).toMatch(/10000/);
  });

  it("reports its health and its metrics", async () => {
    for (const path of ["live", "ready"])
      expect(await (await fetch(`${url}/health/${path}`)).json()).toEqual({ status: "ok" });
    expect(await metric('ip2p_responses_total{status="422"}')).toBeGreaterThan(0);
    expect(await metric("ip2p_denoising_steps_total")).toBeGreaterThan(0);
    expect(await metric("process_resident_memory_bytes")).toBeGreaterThan(2 ** 20);
  });
});

describe("a server", () => {
  afterEach(() => server.close());

  it("serves many concurrent clients: accepts as many as it has places, and the others when they retry", async () => {
    const places = 10;
    await start({ places, placesPerClient: places });
    const seeds = [0, 1, 2];
    const expected = await Promise.all(seeds.map((seed) => alone(seed, 1)));

    /** How each client fared the first time it asked; it goes on asking until it is served. */
    const first = await Promise.all(
      Array.from({ length: 40 }, async (_, client) => {
        const seed = client % seeds.length;
        let status: number | undefined;
        for (;;) {
          const answer = await edit(form({ prompt, seed, num_inference_steps: 1 }));
          const body = Buffer.from(await answer.arrayBuffer());
          status ??= answer.status;
          if (answer.status === 200) {
            expect((await pixels(body)).equals(expected[seed]!)).toBe(true);
            return status;
          }
          expect(answer.status, body.toString("latin1", 0, 200)).toBe(429);
          expect(JSON.parse(body.toString()).error.code).toBe("ERR_BUSY");
          expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
          // Sooner than it says, which on a busy machine is later than this test has time for.
          await delay(500 + Math.random() * 500);
        }
      }),
    );
    expect(first.filter((status) => status === 200).length).toBeGreaterThanOrEqual(places);
    expect(first.filter((status) => status === 429).length).toBeGreaterThan(0);
  });

  it("stops the run of a client that disconnects, and removes a waiting one from the queue", async () => {
    await start({ concurrency: 1 });
    const steps = () => metric("ip2p_denoising_steps_total");
    const [running, waiting] = [new AbortController(), new AbortController()];
    const first = edit(form(LONG), running.signal).catch(() => "gone");
    await until(async () => (await steps()) >= 2);
    const second = edit(form(LONG), waiting.signal).catch(() => "gone");
    await until(async () => (await metric("ip2p_num_requests_waiting")) === 1);

    waiting.abort();
    expect(await second).toBe("gone");
    await until(async () => (await metric("ip2p_num_requests_waiting")) === 0);
    expect(await metric("ip2p_num_requests_running")).toBe(1);

    running.abort();
    expect(await first).toBe("gone");
    await until(async () => (await metric("ip2p_num_requests_running")) === 0);
    const done = await steps();
    expect(done).toBeLessThan(LONG.num_inference_steps);

    expect((await edit(form({ prompt, num_inference_steps: 3 }))).status).toBe(200);
    expect(await steps()).toBe(done + 3);
    expect(await metric('ip2p_responses_total{status="499"}')).toBe(2);
  });

  it("stops the run of a client that leaves its stream", async () => {
    await start();
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
    const image = await toFile(picture, "picture.png");
    const stream = await client.images.edit({
      image,
      ...LONG,
      num_inference_steps: 50,
      stream: true,
      partial_images: 3,
    } as never);
    for await (const _ of stream as unknown as AsyncIterable<unknown>) break;
    await until(async () => (await metric("ip2p_num_requests_inside")) === 0);
    expect(await metric("ip2p_denoising_steps_total")).toBeLessThan(50);
    expect(await metric('ip2p_responses_total{status="499"}')).toBe(1);
  });

  it("ends an edit that takes longer than allowed", async () => {
    await start({ timeout: 1, maxSteps: 1000 });
    const long = { prompt, num_inference_steps: 1000 };
    const answer = await edit(form(long));
    expect(answer.status).toBe(504);
    const error = {
      code: "ERR_TIMEOUT",
      message: "the request took longer than 1 s",
      type: "server_error",
      param: null,
    };
    expect(await answer.json()).toEqual({ error });
    await until(async () => (await metric("ip2p_num_requests_running")) === 0);
    expect(await metric("ip2p_denoising_steps_total")).toBeLessThan(1000);
  });

  it("aborts requests that take longer than the grace period", async () => {
    await start({ grace: 0, maxSteps: 1000 });
    const long = edit(form({ prompt, num_inference_steps: 1000 }));
    await until(async () => (await metric("ip2p_denoising_steps_total")) >= 1);
    await server.close();
    const answer = await long;
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ error: { code: "ERR_STOPPING" } });
  });

  it("frees the place of a client that disconnects while uploading, and does not wait for it when it ends", async () => {
    await start({ places: 1, grace: 0 });
    const upload = () => {
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      socket.on("error", () => {});
      const head = ["POST /edit HTTP/1.1", "host: localhost", "content-type: application/json", "content-length: 1000"];
      socket.write(`${head.join("\r\n")}\r\n\r\n{`);
      return socket;
    };
    const inside = async (count: number) => (await metric("ip2p_num_requests_inside")) === count;
    const first = upload();
    await until(() => inside(1));
    expect((await edit(form({ prompt }))).status).toBe(429);
    first.destroy();
    await until(() => inside(0));
    expect((await edit(form({ prompt, num_inference_steps: 1 }))).status).toBe(200);
    upload();
    await until(() => inside(1));
    await server.close();
  });
});

describe("ip2p serve", () => {
  it("finishes accepted requests at SIGTERM, ends at once at a second one, and logs no prompts", async () => {
    // Computed first: nothing may take long between the end of the accepted requests and the second signal.
    const expected = await alone(5, 2);
    const child = await ServerProcess.start({
      "max-steps": 1000,
      grace: 600,
      concurrency: 1,
      model: `tiny=${builtInModel}`,
    });
    try {
      ({ url } = child);
      const listed = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
      expect(listed.data.map(({ id }) => id)).toEqual(["tiny"]);
      const edits = [
        edit(form({ ...LONG, num_inference_steps: 10 })),
        edit(form({ prompt, num_inference_steps: 2, seed: 5, guidance_scale: 7.5 })),
      ];
      // Requests on connections of their own may overtake one another; this one must be the last.
      await until(async () => (await child.metric("ip2p_num_requests_waiting")) === 1);
      const cutOff = edit(form({ prompt, num_inference_steps: 1000 })).catch(() => "cut off");
      await until(async () => (await child.metric("ip2p_num_requests_waiting")) === 2);
      child.signal("SIGTERM");
      await until(async () => child.log.includes("stopping"));
      const refused = (answer: Promise<Response>) =>
        answer.then(
          ({ status }) => status === 503,
          () => true,
        );
      // Not by an edit, which, if it came just in time, would wait behind the long one.
      await until(() => refused(fetch(`${url}/v1/models`)));
      expect(await refused(edit(form({ prompt })))).toBe(true);
      for (const { status } of await Promise.all(edits)) expect(status).toBe(200);
      const bytes = await (await edits[1]!).arrayBuffer();
      child.signal("SIGTERM");
      expect(await cutOff).toBe("cut off");
      expect(await pixels(bytes)).toEqual(expected);
      expect(await child.exit).toBe(143);
      expect(child.log).toContain('"status":200');
      expect(child.log).not.toContain(prompt);
    } finally {
      await child.stop();
    }
  });

  it("names a wrong option, and nothing starts", async () => {
    const flags = { model: "/nonexistent", "trust-proxy": "true" };
    // Before the model, which is not there, is looked for.
    await expect(ServerProcess.start(flags)).rejects.toThrow(/--trust_proxy holds "true"/);
  });
});

it("the example depends on what is tested here", () => {
  const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
  const own = readJson<{ version: string; devDependencies: object; peerDependencies: object; overrides: object }>(
    path("package.json"),
  );
  const { dependencies, overrides } = readJson<{ dependencies: Record<string, string>; overrides: object }>(
    path("examples/server/package.json"),
  );
  const { "instruct-pix2pix": ours, ...others } = dependencies;
  expect(own.devDependencies).toMatchObject(others);
  expect(own.peerDependencies).toEqual(others);
  expect(own.overrides).toMatchObject(overrides);
  const minor = (version: string) => version.split(".").slice(0, 2).join(".");
  expect(ours?.startsWith("^") && minor(ours.slice(1))).toBe(minor(own.version));
});
