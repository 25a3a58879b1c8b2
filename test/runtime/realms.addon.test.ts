import { expect, test } from "vitest";
import { runChild } from "./child.js";

test("in a context of node:vm everything works, with objects of either realm", async () => {
  const { status, stdout, stderr } = await runChild("realm.mjs", [], {
    nodeOptions: ["--no-warnings", "--experimental-vm-modules", "--experimental-import-meta-resolve"],
  });
  expect(status, stderr).toBe(0);
  const { "no DataView": refusal, ...outcomes } = JSON.parse(stdout);
  const kinds = Object.fromEntries(
    Object.keys(outcomes)
      .filter((name) => name.endsWith("realm"))
      .map((name) => [name, [1, 2]]),
  );
  expect(Object.keys(kinds).length).toBeGreaterThanOrEqual(16);
  expect(outcomes).toEqual({
    ...kinds,
    "a round trip": [3, 3],
    "an array that is returned": true,
    "pixels, a Uint8Array": 64,
    "an ArrayBuffer": 64,
    "a SharedArrayBuffer": 64,
    "a Buffer": 64,
    "a URL": 64,
    "a generator's state": 0,
    "a list of a scheduler": 2,
    "an edit": 64,
    "an error's class": [true, true],
    "using of both realms": [true, "function", "symbol"],
  });
  expect(refusal).toMatch(/^ERR_INVALID_ARGUMENT: .*not from an object of class DataView/);
});
