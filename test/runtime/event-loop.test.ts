import { expect, test } from "vitest";
import { measureInChild } from "./child.js";

/** Delays of an event loop in milliseconds. `idle` is a thread of the same process that does nothing, at the same time. */
interface Delays {
  busy: { p99: number; max: number };
  idle: { p99: number; max: number };
  milliseconds: number;
}

/** The machine may be in use: what an idle thread suffers from that, the busy one is allowed on top. */
function tooLate({ busy, idle }: Delays): string | undefined {
  const shown = JSON.stringify({ busy, idle });
  if (busy.p99 >= 20 + idle.p99) return `p99 is not below 20 ms: ${shown}`;
  if (busy.max >= 100 + idle.max) return `max is not below 100 ms: ${shown}`;
}

test.each(["load", "edit", "picture", "dispose"])("the event loop stays free during %s", async (what) => {
  let delays = await measureInChild<Delays>("event-loop.mjs", [what]);
  // Three times in a row is no accident.
  for (let i = 0; i < 2 && tooLate(delays); i++) delays = await measureInChild<Delays>("event-loop.mjs", [what]);
  expect(tooLate(delays)).toBeUndefined();
  // The work has to be long enough to be in the way at all.
  expect(delays.milliseconds).toBeGreaterThan(250);
});

test("this test sees an event loop that is not free", async () => {
  expect(tooLate(await measureInChild<Delays>("event-loop.mjs", ["block"]))).toMatch(/p99|max/);
});
