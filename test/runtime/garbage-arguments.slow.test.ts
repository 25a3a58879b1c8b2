import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { measureInChild, runChild } from "./child.js";

/** Seconds for each part; `FUZZ_SECONDS=300 npx vitest run test/runtime/garbage-arguments.slow.test.ts` looks longer. */
const SECONDS = process.env.FUZZ_SECONDS ?? "2";
/** Enough for the model, and little enough that a huge shape fails instead of filling the machine. */
const DATA_LIMIT = 3e9;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-fuzz-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["addon", "the addon's functions"],
  ["objects", "its classes, on receivers of every kind,"],
  ["public", "the public functions and methods"],
])("%s: %s refuse garbage with one proper error and never crash the process", async (part) => {
  const seed = String(Math.floor(Math.random() * 2 ** 31));
  const options = { cwd: folder, dataLimit: DATA_LIMIT, timeout: 1000 * (Number(SECONDS) + 100) };
  const { status, stdout, stderr } = await runChild("fuzz.mjs", [part, SECONDS, seed], options);
  const how = `seed ${seed}: ${stderr.slice(-2000)}`;
  expect(status, how).toBe(0);
  const { worked, refused, untouched, failures } = JSON.parse(stdout);
  expect(failures, how).toEqual([]);
  // Otherwise garbage was refused at the door and nothing behind it was tried.
  expect(untouched, how).toEqual([]);
  expect(Math.min(worked, refused), how).toBeGreaterThan(0);
});

test("an error class that is invalid, throws or makes no object does not crash the process", async () => {
  const { caught, expected } = await measureInChild<{ caught: number; expected: number }>("error-class.mjs");
  expect(caught).toBe(expected);
});
