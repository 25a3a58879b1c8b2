import { expect, test } from "vitest";
import { measureInChild } from "./child.js";

test.each(["load", "edit", "picture", "dispose"])("the event loop stays free during %s", async (what) => {
  expect(await measureInChild("event-loop.mjs", [what])).toEqual({});
});

test("this test detects a blocked event loop", async () => {
  expect(await measureInChild("event-loop.mjs", ["block"])).toEqual({ heldUp: expect.stringMatching(/^the loop/) });
});
