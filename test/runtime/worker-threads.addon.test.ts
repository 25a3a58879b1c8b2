import { expect, test } from "vitest";
import { measureInChild } from "./child.js";

/** How many workers are terminated; the soak test takes a hundred. */
const TERMINATED = 20;

interface Outcome {
  wrong: number;
  codes: Record<string, number>;
}

test("several workers load the addon at once and compute beside the main thread, each with its own numbers", async () => {
  const outcome = await measureInChild<Outcome>("workers.mjs", ["edit", "4"]);
  expect(outcome).toEqual({ wrong: 0, codes: { 0: 4 } });
});

test(`terminating ${TERMINATED} workers in the middle of their work neither crashes nor hangs, nor disturbs the main thread`, async () => {
  const { wrong, codes } = await measureInChild<Outcome>("workers.mjs", ["terminate", String(TERMINATED)]);
  expect(wrong).toBe(0);
  expect(codes).toEqual({ terminated: TERMINATED });
});

test("a worker may exit, throw, or end in the middle of its work", async () => {
  const { codes } = await measureInChild<Outcome>("workers.mjs", ["endings", "2"]);
  expect(codes).toEqual({ "exit 5": 2, "throw 1": 2, "forget 0": 2 });
});
