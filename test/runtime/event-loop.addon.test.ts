import { expect, test } from "vitest";
import { heldUp, type Turns } from "../helpers/event-loop.mjs";
import { measureInChild } from "./child.js";

test.each(["load", "edit", "picture", "dispose"])("the event loop stays free during %s", async (what) => {
  expect(heldUp(await measureInChild<Turns>("event-loop.mjs", [what]))).toBeUndefined();
});

test("this test detects a blocked event loop", async () => {
  expect(heldUp(await measureInChild<Turns>("event-loop.mjs", ["block"]))).toMatch(/^the loop/);
});
