import { expect, test } from "vitest";
import { runChild } from "./child.js";

test("allocations beyond the available memory are ERR_OUT_OF_MEMORY, and everything works afterwards", async () => {
  const { status, stdout, stderr } = await runChild("out-of-memory.mjs", [], { dataLimit: 3e9 });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const { requests, works } = JSON.parse(stdout) as { requests: Record<string, string>; works: boolean };
  for (const [request, outcome] of Object.entries(requests))
    expect(outcome, request).toMatch(/^ERR_OUT_OF_MEMORY out of memory: \d+ bytes were asked for$/);
  expect(Object.keys(requests).length).toBeGreaterThan(6);
  expect(works).toBe(true);
});
