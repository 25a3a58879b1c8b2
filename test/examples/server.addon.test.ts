import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { builtInModel, InstructPix2PixPipeline, loadImage } from "../../lib/index.js";
import { native } from "../../lib/runtime/native.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { ServerProcess } from "./server-process.mjs";

const picture = readFileSync(fixture("built-in", "picture.png"));
const prompt = "change the background to peach";
/** Long enough to be stopped in the middle. */
const LONG = { prompt, numInferenceSteps: 100 };

type Fields = Record<string, string | number | Blob>;

/** An edit as a form; the picture is there already. */
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

let server: ServerProcess;
const edit = (request: RequestInit, signal?: AbortSignal) => fetch(`${server.url}/edit`, { ...request, signal });

/** Waits for something that the server's figures say. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 30_000; !(await condition()); await delay(5))
    if (performance.now() > end) throw new Error(`it did not come: ${condition}`);
}

async function pixels(encoded: ArrayBuffer | Uint8Array): Promise<Buffer> {
  return Buffer.from((await loadImage(Buffer.from(encoded as ArrayBuffer))).data);
}

/** What the pipeline gives by itself. */
let alone: (seed: number, numInferenceSteps: number) => Promise<Buffer>;
let pipe: InstructPix2PixPipeline;
beforeAll(async () => {
  await native().setThreads(1);
  pipe = await InstructPix2PixPipeline.fromPretrained(builtInModel, { device: "cpu" });
  alone = async (seed, numInferenceSteps) => {
    const { images } = await pipe.run({ image: picture, prompt, seed, numInferenceSteps });
    return Buffer.from(images[0]!.data);
  };
});
afterAll(() => pipe.dispose());

describe("one server", () => {
  beforeAll(async () => {
    server = await ServerProcess.start({ "max-steps": 50, "max-pixels": 10_000, "max-bytes": 100_000 });
  });
  afterAll(() => server.stop());

  it("gives the pictures of the pipeline for the same seed, by a form, base64 and a data URL", async () => {
    const expected = await alone(3, 4);
    const base64 = picture.toString("base64");
    const options = { prompt, seed: 3, numInferenceSteps: 4 };
    for (const request of [
      form(options),
      json({ ...options, image: base64 }),
      json({ ...options, image: `data:image/png;base64,${base64}` }),
    ]) {
      const answer = await edit(request);
      expect(answer.status).toBe(200);
      expect(answer.headers.get("content-type")).toBe("image/png");
      expect(answer.headers.get("x-seed")).toBe("3");
      expect(await pixels(await answer.arrayBuffer())).toEqual(expected);
    }
  });

  it("returns the requested format, and the random seed", async () => {
    const answer = await edit(form({ prompt, numInferenceSteps: 1, format: "webp" }));
    expect(answer.headers.get("content-type")).toBe("image/webp");
    const seed = Number(answer.headers.get("x-seed"));
    expect(Buffer.from(await answer.arrayBuffer()).toString("latin1", 8, 12)).toBe("WEBP");
    const again = await edit(form({ prompt, numInferenceSteps: 1, seed }));
    expect(await pixels(await again.arrayBuffer())).toEqual(await alone(seed, 1));
  });

  const image = picture.toString("base64");
  it.each<[string, RequestInit, number, RegExp]>([
    ["no prompt", json({ image }), 400, /'prompt'/],
    ["no picture", json({ prompt }), 400, /'image'/],
    ["an option that there is not", json({ image, prompt, steps: 3 }), 400, /steps/],
    ["more steps than allowed", json({ image, prompt, numInferenceSteps: 51 }), 400, /numInferenceSteps must be <= 50/],
    ["a seed that is no number", form({ prompt, seed: "x" }), 400, /seed/],
    ["a format that there is not", form({ prompt, format: "bmp" }), 400, /format/],
    ["a prompt that is too long", form({ prompt: "a".repeat(1001) }), 400, /prompt/],
    ["a file of the server", json({ image: "file:///etc/hostname", prompt }), 400, /image is/],
    ["a path", json({ image: "/etc/hostname.png", prompt }), 400, /image is/],
    ["a private address", json({ image: "http://127.0.0.1:1/a.png", prompt }), 422, /private addresses/],
    ["a name of a private address", json({ image: "http://localhost:1/a.png", prompt }), 422, /private addresses/],
    ["what is no picture", form({ prompt, image: new Blob(["text"]) }), 422, /picture/],
    ["more bytes than allowed", form({ prompt, image: new Blob([Buffer.alloc(100_001)]) }), 413, /too large/],
    ["more JSON than allowed", json({ image: "a".repeat(3 << 20), prompt }), 413, /too large/],
    ["no JSON", { ...json({}), body: "{" }, 400, /JSON/],
    ["another kind of body", { method: "POST", body: "text" }, 415, /Media Type/],
  ])("refuses %s", async (_, request, status, message) => {
    const answer = await edit(request);
    const body = await answer.text();
    expect({ status: answer.status, body }).toEqual({ status, body: expect.stringMatching(message) });
    expect(JSON.parse(body)).toEqual({ code: expect.stringMatching(/^[A-Z0-9_]+$/), message: expect.any(String) });
  });

  it("refuses a picture of too many pixels before it decodes it", async () => {
    const large = await (await loadImage(picture)).resize(101, 100, "nearest").then((each) => each.encode("png"));
    const answer = await edit(form({ prompt, image: new Blob([new Uint8Array(large)]) }));
    expect(answer.status).toBe(422);
    expect(await answer.text()).toMatch(/10000/);
  });

  it("reports its health and its metrics", async () => {
    expect(await (await fetch(`${server.url}/health`)).json()).toEqual({ status: "ok" });
    expect(await server.metric('edit_answers_total{status="422"}')).toBeGreaterThan(0);
    expect(await server.metric("denoising_steps_total")).toBeGreaterThan(0);
    expect(await server.metric("process_resident_memory_bytes")).toBeGreaterThan(2 ** 20);
  });
});

describe("a server", () => {
  afterEach(() => server.stop());

  it("serves 200 concurrent clients: accepts as many as it has places, and the others when they retry", async () => {
    const places = 50;
    server = await ServerProcess.start({ places, "places-per-client": places });
    const seeds = [0, 1, 2, 3, 4, 5, 6, 7];
    const expected = await Promise.all(seeds.map((seed) => alone(seed, 1)));

    /** How each client fared the first time it asked; it goes on asking until it is served. */
    const first = await Promise.all(
      Array.from({ length: 200 }, async (_, client) => {
        const seed = client % seeds.length;
        let status: number | undefined;
        for (;;) {
          const answer = await edit(form({ prompt, seed, numInferenceSteps: 1 }));
          const body = Buffer.from(await answer.arrayBuffer());
          status ??= answer.status;
          if (answer.status === 200) {
            expect((await pixels(body)).equals(expected[seed]!)).toBe(true);
            return status;
          }
          expect(answer.status, body.toString("latin1", 0, 200)).toBe(503);
          expect(JSON.parse(body.toString()).code).toBe("ERR_BUSY");
          expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
          // Sooner than it says, which on a busy machine is later than this test has time for.
          await delay(500 + Math.random() * 500);
        }
      }),
    );
    expect(first.filter((status) => status === 200).length).toBeGreaterThanOrEqual(places);
    expect(first.filter((status) => status === 503).length).toBeGreaterThan(0);
  });

  it("stops the run of a client that disconnects, and removes a waiting one from the queue", async () => {
    server = await ServerProcess.start({ concurrency: 1 });
    const steps = () => server.metric("denoising_steps_total");
    const [running, waiting] = [new AbortController(), new AbortController()];
    const first = edit(form(LONG), running.signal).catch(() => "gone");
    await until(async () => (await steps()) >= 2);
    const second = edit(form(LONG), waiting.signal).catch(() => "gone");
    await until(async () => (await server.metric("edits_waiting")) === 1);

    waiting.abort();
    expect(await second).toBe("gone");
    await until(async () => (await server.metric("edits_waiting")) === 0);
    expect(await server.metric("edits_running")).toBe(1);

    running.abort();
    expect(await first).toBe("gone");
    await until(async () => (await server.metric("edits_running")) === 0);
    const done = await steps();
    expect(done).toBeLessThan(LONG.numInferenceSteps);

    expect((await edit(form({ prompt, numInferenceSteps: 3 }))).status).toBe(200);
    expect(await steps()).toBe(done + 3);
    expect(await server.metric('edit_answers_total{status="499"}')).toBe(2);
  });

  it("ends an edit that takes longer than allowed", async () => {
    server = await ServerProcess.start({ timeout: 1, "max-steps": 1000 });
    const answer = await edit(form({ prompt, numInferenceSteps: 1000 }));
    expect(answer.status).toBe(504);
    expect(await answer.json()).toEqual({ code: "ERR_TIMEOUT", message: "the edit took longer than 1 s" });
    await until(async () => (await server.metric("edits_running")) === 0);
    expect(await server.metric("denoising_steps_total")).toBeLessThan(1000);
  });

  it("finishes accepted requests when told to stop, accepts no more, and ends", async () => {
    server = await ServerProcess.start();
    const edits = [edit(form(LONG)), edit(form({ prompt, numInferenceSteps: 2, seed: 5 }))];
    await until(async () => (await server.metric("edits_waiting")) === 1);
    server.signal("SIGTERM");
    await until(() =>
      edit(form({ prompt })).then(
        ({ status }) => status === 503,
        () => true,
      ),
    );
    const [, last] = await Promise.all(edits);
    expect(last!.status).toBe(200);
    expect(await pixels(await last!.arrayBuffer())).toEqual(await alone(5, 2));
    expect(await server.exit).toBe(0);
  });

  it("aborts requests that take longer than the grace period", async () => {
    server = await ServerProcess.start({ grace: 0, "max-steps": 1000 });
    const long = edit(form({ prompt, numInferenceSteps: 1000 }));
    await until(async () => (await server.metric("denoising_steps_total")) >= 1);
    server.signal("SIGTERM");
    const answer = await long;
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ code: "ERR_STOPPING" });
    expect(await server.exit).toBe(0);
  });

  it("frees the place of a client that disconnects while uploading, and does not wait for it when it ends", async () => {
    server = await ServerProcess.start({ places: 1, grace: 0 });
    const upload = () => {
      const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
      socket.on("error", () => {});
      const head = ["POST /edit HTTP/1.1", "host: localhost", "content-type: application/json", "content-length: 1000"];
      socket.write(`${head.join("\r\n")}\r\n\r\n{`);
      return socket;
    };
    const inside = async (count: number) => (await server.metric("edits_inside")) === count;
    const first = upload();
    await until(() => inside(1));
    expect((await edit(form({ prompt }))).status).toBe(503);
    first.destroy();
    await until(() => inside(0));
    expect((await edit(form({ prompt, numInferenceSteps: 1 }))).status).toBe(200);
    upload();
    await until(() => inside(1));
    server.signal("SIGTERM");
    expect(await server.exit).toBe(0);
  });

  it("ends at once at a second signal", async () => {
    server = await ServerProcess.start({ "max-steps": 1000 });
    const long = edit(form({ prompt, numInferenceSteps: 1000 })).catch(() => "cut off");
    await until(async () => (await server.metric("denoising_steps_total")) >= 1);
    server.signal("SIGTERM");
    await until(async () => server.log.includes("stopping"));
    server.signal("SIGTERM");
    expect(await long).toBe("cut off");
    expect(await server.exit).toBe("SIGTERM");
  });
});

it("an invalid setting is named, and nothing starts", async () => {
  await expect(ServerProcess.start({ "max-steps": "many" })).rejects.toThrow(/--max-steps is a whole number/);
  // Before the model, which is not there, is looked for.
  const flags = { model: "/nonexistent", "trust-proxy": "true" };
  await expect(ServerProcess.start(flags)).rejects.toThrow(/--trust-proxy holds "true"/);
});

it("the example depends on what is tested here", () => {
  const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
  const own = readJson<{ version: string; devDependencies: object; overrides: object }>(path("package.json"));
  const { dependencies, overrides } = readJson<{ dependencies: Record<string, string>; overrides: object }>(
    path("examples/server/package.json"),
  );
  const { "instruct-pix2pix": ours, ...others } = dependencies;
  expect(own.devDependencies).toMatchObject(others);
  expect(own.overrides).toMatchObject(overrides);
  const minor = (version: string) => version.split(".").slice(0, 2).join(".");
  expect(ours?.startsWith("^") && minor(ours.slice(1))).toBe(minor(own.version));
});
