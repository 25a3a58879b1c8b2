import type sharp from "sharp";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { decodesInProgress, loadImage } from "../../lib/images/index.js";
import { expectError, recordedBytes } from "./fixtures.js";

/** A decoder that begins when it is asked to and ends when the test says so; a real one where the test does not care. */
const decoder = vi.hoisted(() => ({ stuck: false, started: 0, release: [] as (() => void)[] }));
vi.mock("../../lib/images/sharp.js", async (original) => {
  const { imageLibrary } = await original<typeof import("../../lib/images/sharp.js")>();
  return {
    imageLibrary: () => (decoder.stuck ? () => ({ metadata: wait }) : imageLibrary()) as unknown as typeof sharp,
  };
  function wait(): Promise<never> {
    decoder.started++;
    return new Promise((_, reject) => decoder.release.push(() => reject(new Error("released"))));
  }
});

const picture = recordedBytes("rgb.png");
const LONG = 600_000;
/** vitest waits for a second, which a busy machine may take. */
const PATIENCE = { timeout: 200_000 };

async function releaseAll(): Promise<void> {
  for (const release of decoder.release.splice(0)) release();
  await vi.waitFor(() => expect(decodesInProgress()).toBe(0), PATIENCE);
}

beforeEach(() => Object.assign(decoder, { stuck: true, started: 0 }));
afterEach(async () => {
  decoder.stuck = false;
  await releaseAll();
});

describe("a decoder that does not return", () => {
  it("times out for the caller, and is counted until it has ended", async () => {
    await expectError(loadImage(picture, { timeoutMs: 20 }), "ERR_IMAGE", /not decoded within 20 ms \(timeoutMs\)/);
    expect(decodesInProgress()).toBe(1);
    await releaseAll();
  });

  it("ends at an abort at once", async () => {
    const abort = new AbortController();
    const loading = loadImage(picture, { signal: abort.signal });
    await vi.waitFor(() => expect(decodesInProgress()).toBe(1), PATIENCE);
    abort.abort(new Error("enough"));
    await expect(loading).rejects.toMatchObject({ code: "ERR_ABORTED", cause: new Error("enough") });
    expect(decodesInProgress()).toBe(1);
  });

  it("starts no decoding for an image that is no longer awaited", async () => {
    await expectError(loadImage(picture, { timeoutMs: 20 }), "ERR_IMAGE", /not decoded/);
    decoder.stuck = false;
    await releaseAll();
    expect(decoder.started).toBe(1);
  });

  it("leaves one thread free: images wait for a place, and the wait counts towards their time limit", async () => {
    const places = (Number(process.env.UV_THREADPOOL_SIZE) || 4) - 1;
    const stuck = Array.from({ length: places }, () => loadImage(picture, { timeoutMs: LONG }).catch(() => {}));
    await vi.waitFor(() => expect(decodesInProgress()).toBe(places), PATIENCE);
    await expectError(loadImage(picture, { timeoutMs: 20 }), "ERR_IMAGE", /not decoded within 20 ms/);
    const abort = new AbortController();
    const waiting = loadImage(picture, { timeoutMs: LONG, signal: abort.signal });
    abort.abort();
    await expectError(waiting, "ERR_ABORTED", /aborted/);
    expect(decoder.started).toBe(places);

    decoder.stuck = false;
    const last = loadImage(picture, { timeoutMs: LONG });
    await releaseAll();
    expect((await last).width).toBe(13);
    await Promise.all(stuck);
    expect(decoder.started).toBe(places);
  });

  it("times out in a sharp pipeline as well, which gets the limit too", async () => {
    let end = () => {};
    const told: unknown[] = [];
    const pipeline: Record<string, unknown> = { toBuffer: () => new Promise<void>((_, reject) => (end = reject)) };
    for (const step of ["clone", "timeout", "autoOrient", "removeAlpha", "toColourspace", "raw"])
      pipeline[step] = (argument: unknown) => told.push(step, argument) && pipeline;
    await expectError(loadImage(pipeline as never, { timeoutMs: 20 }), "ERR_IMAGE", /sharp pipeline was not decoded/);
    expect(told).toEqual(expect.arrayContaining(["timeout", { seconds: 1 }]));
    expect(decodesInProgress()).toBe(1);
    end();
  });
});

it("no image is counted after it was decoded or refused", async () => {
  decoder.stuck = false;
  await Promise.allSettled([loadImage(picture), loadImage(picture.subarray(0, 100)), loadImage(Buffer.from("no"))]);
  expect(decodesInProgress()).toBe(0);
});
