import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { inflateSync } from "node:zlib";
import { expect } from "vitest";
import { type ErrorCode, InstructPix2PixError } from "../../lib/core/errors.js";

const folder = new URL("../fixtures/images/", import.meta.url);

/** An encoded image and the pixels Pillow reads from it. */
export interface RecordedPicture {
  file: string;
  width: number;
  height: number;
  rgb: Buffer;
}

export function recordedPath(file: string): string {
  return fileURLToPath(new URL(`decode/${file}`, folder));
}

export function recordedBytes(file: string): Buffer {
  return readFileSync(recordedPath(file));
}

/** Written by scripts/record-images.py. */
export function recordedPictures(): RecordedPicture[] {
  const entries: (Omit<RecordedPicture, "rgb"> & { rgb: string })[] = readJson("decode.json");
  return entries.map((entry) => ({ ...entry, rgb: inflateSync(Buffer.from(entry.rgb, "base64")) }));
}

export function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(file, folder), "utf8")) as T;
}

/** The upper bytes of a linear congruential generator (Numerical Recipes), as scripts/record-resize.py draws them. */
export function noise(seed: number, count: number): Uint8Array {
  let state = seed >>> 0;
  return Uint8Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

/** Numbers below `limit` from a generator that always starts the same. */
export function seeded(seed: number): (limit: number) => number {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

/** Asserts that a promise rejects with this package's error, on one line, with this code and a matching message. */
export async function expectError(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(InstructPix2PixError);
  expect((error as InstructPix2PixError).code).toBe(code);
  expect((error as InstructPix2PixError).message).toMatch(message);
  expect((error as InstructPix2PixError).message).not.toContain("\n");
}
