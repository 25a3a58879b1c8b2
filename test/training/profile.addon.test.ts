import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PROFILE_FILE } from "../../lib/training/profile.js";
import { finalWeights, TemporaryFolder, tinyOptions, trained } from "./reliability/tiny-run.js";

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

interface Event {
  name: string;
  cat?: string;
  ph: string;
  tid: number;
  ts: number;
  dur: number;
}

const profileOf = (name: string) =>
  (JSON.parse(readFileSync(folder.at(name, PROFILE_FILE), "utf8")) as { traceEvents: Event[] }).traceEvents;

test("a profile has the loop's parts in order, and changes no number", async () => {
  const more = { maxTrainSteps: 5, gradientAccumulationSteps: 1 };
  await trained(tinyOptions(folder.at("plain"), more));
  await trained(tinyOptions(folder.at("traced"), { ...more, profile: 2 }));
  expect(finalWeights(folder.at("traced"))).toBe(finalWeights(folder.at("plain")));
  expect(existsSync(folder.at("plain", PROFILE_FILE))).toBe(false);

  const events = profileOf("traced").filter(({ ph }) => ph === "X");
  const loop = events.filter(({ cat }) => cat === "loop");
  const passes = loop.filter(({ name }) => name === "forward and backward");
  expect(passes).toHaveLength(2);
  expect(loop.filter(({ name }) => name === "optimizer")).toHaveLength(2);
  for (const [i, pass] of passes.entries()) {
    // Micro-steps follow one another, and each step's update comes after its passes.
    const update = loop.filter(({ name }) => name === "optimizer")[i]!;
    expect(update.ts).toBeGreaterThanOrEqual(pass.ts + pass.dur);
    for (const { dur } of [pass, update]) expect(dur).toBeGreaterThan(0);
    const within = (name: RegExp, outer: Event) =>
      events.filter(
        (event) =>
          event.cat === "operator" &&
          name.test(event.name) &&
          event.ts >= outer.ts &&
          event.ts + event.dur <= outer.ts + outer.dur,
      );
    expect(within(/^ip2p::attention/, pass).length).toBeGreaterThan(3);
    expect(within(/^ConvolutionBackward0$/, pass).length).toBeGreaterThan(10);
    expect(within(/conv/, update)).toEqual([]);
  }
});

test("a run that ends earlier writes what there was", async () => {
  await trained(tinyOptions(folder.at("short"), { maxTrainSteps: 3, profile: 100 }));
  expect(profileOf("short").some(({ name }) => name === "optimizer")).toBe(true);
});
