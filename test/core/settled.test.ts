import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import { allInOrder } from "../../lib/core/settled.js";

test("of several failures the first by position is thrown, after everything has ended", async () => {
  let hasEnded = false;
  const all = allInOrder([
    wait(1).then(() => "a"),
    wait(30).then(() => Promise.reject(new Error("by position"))),
    Promise.reject(new Error("by time")),
    wait(60).then(() => {
      hasEnded = true;
    }),
  ]);
  await expect(all).rejects.toThrow("by position");
  expect(hasEnded).toBe(true);
});

test("without a failure all results are there", async () => {
  expect(await allInOrder([wait(5).then(() => 1), "two", Promise.resolve(3)])).toEqual([1, "two", 3]);
});
