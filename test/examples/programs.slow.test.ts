import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";
import { loadImage } from "../../lib/images/index.js";
import { ip2p, runProgram, tinyModel, Workplace } from "../cli/run-cli.js";
import { fixture } from "../helpers/fixtures.js";
import { installExample } from "./server-process.mjs";

const picture = Uint8Array.from(readFileSync(fixture("built-in", "picture.png")));
const prompt = "change the background to peach";
const env = { OMP_NUM_THREADS: "1", MODEL: tinyModel };
/** Each test starts several processes. */
const MINUTES = 240_000;

function example(name: string): Workplace {
  const place = new Workplace();
  installExample(place.at("example"), name);
  writeFileSync(place.at("photo.png"), picture);
  return place;
}

test(
  "the script edits an image",
  async () => {
    using place = example("script");
    const program = place.at("example", "edit.js");
    const { status, stdout, stderr } = await runProgram(program, ["photo.png", prompt, "out.png"], {
      cwd: place.folder,
      env,
    });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^out\.png, seed \d+\n$/);
    expect(stderr.trim().split("\n").at(-1)).toBe("step 20 of 20");
    expect((await loadImage(place.at("out.png"))).width).toBe(64);
    expect(await runProgram(program, [], { cwd: place.folder, env })).toMatchObject({ status: 2 });
  },
  MINUTES,
);

test(
  "the batch edits a folder, names what it cannot read, and goes on where it was stopped",
  async () => {
    using place = example("batch");
    for (const name of ["b.png", "a.png"]) writeFileSync(place.at(name), picture);
    writeFileSync(place.at("broken.jpg"), "no image");
    const program = place.at("example", "edit-folder.js");
    const run = () => runProgram(program, [".", prompt, "new"], { cwd: place.folder, env });
    const { status, stdout, stderr } = await run();
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/^broken\.jpg: .* is not an image/),
    });
    expect(stdout.match(/new\/\w+\.png/g)).toEqual(["new/a.png", "new/b.png", "new/photo.png"]);
    expect((await loadImage(place.at("new", "a.png"))).equals(await loadImage(place.at("new", "b.png")))).toBe(true);
    expect(await run()).toMatchObject({ status: 1, stdout: "" });
  },
  MINUTES,
);

test(
  "training checks the pairs, trains, goes on and edits",
  async () => {
    using place = example("train");
    await ip2p(["make-dataset", "--world", "--count=4", "--size=32", "--output=pairs"], { cwd: place.folder });
    const run = (steps: number, ...more: string[]) =>
      runProgram(
        place.at("example", "train.js"),
        ["pairs", "model", "--base", tinyModel, "--resolution=32", "--batch=1", `--steps=${steps}`, ...more],
        { cwd: place.folder, env },
      );
    const first = await run(10);
    expect(first).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("4 of 4 pairs can be used\nstep 10: loss "),
    });
    const second = await run(20, "--image=photo.png");
    expect(second).toMatchObject({ status: 0, stdout: expect.stringContaining("step 20: loss ") });
    expect((await loadImage(place.at("edited.png"))).width).toBe(64);
  },
  MINUTES,
);

/** A server of an example, and its address. */
async function serve(place: Workplace): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, ["server.js"], {
    cwd: place.at("example"),
    env: { ...process.env, ...env, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    const port = /^listening on (\d+)$/.exec(line)?.[1];
    if (port) return { url: `http://127.0.0.1:${port}`, child };
  }
  throw new Error("the server ended");
}

describe.each(["express", "fastify"])("the server with %s", (name) => {
  test(
    "edits, and blames the client for the client's faults only",
    async () => {
      using place = example(name);
      const { url, child } = await serve(place);
      try {
        const edit = (
          body: Uint8Array<ArrayBuffer> | string,
          query = `?${new URLSearchParams({ prompt })}`,
          type = "image/png",
        ) => fetch(`${url}/edit${query}`, { method: "POST", body: body, headers: { "content-type": type } });
        const answer = await edit(picture);
        expect(answer.status).toBe(200);
        expect(answer.headers.get("content-type")).toBe("image/png");
        const { width } = await loadImage(Buffer.from(await answer.arrayBuffer()));
        expect(width).toBe(64);

        expect(await (await fetch(`${url}/health`)).json()).toEqual({ status: "ok" });
        const broken = await edit("no image");
        expect(broken.status).toBe(422);
        expect(await broken.json()).toMatchObject({ code: "ERR_IMAGE", message: expect.stringContaining("image") });
        expect((await edit(picture, "")).status).toBe(400);
        expect([400, 415]).toContain((await edit("text", undefined, "text/plain")).status);
        // The server answers before it has read everything, which a client may only see as a closed connection.
        const tooLarge = await edit(new Uint8Array(11 << 20)).then(
          ({ status }) => status,
          ({ cause }) => cause?.code,
        );
        expect([413, "EPIPE", "ECONNRESET"]).toContain(tooLarge);
        // One that goes away does not hold its place.
        for (let i = 0; i < 10; i++) {
          const gone = new AbortController();
          const asked = fetch(`${url}/edit?prompt=x`, {
            method: "POST",
            body: picture,
            headers: { "content-type": "image/png" },
            signal: gone.signal,
          });
          setTimeout(() => gone.abort(), 20);
          await asked.catch(() => {});
        }
        expect((await edit(picture)).status).toBe(200);
      } finally {
        child.kill("SIGKILL");
        await once(child, "close");
      }
    },
    MINUTES,
  );
});
