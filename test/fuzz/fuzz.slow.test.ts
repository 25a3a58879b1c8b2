// What is fed with mutated input ends in a result or in a typed error, in bounded time. `npm run fuzz -- TARGET` runs one
// target for longer.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { drawsFrom, mutate } from "./mutate.js";
import { FUZZ_TARGETS } from "./targets.js";

const seconds = Number(process.env.FUZZ_SECONDS ?? 0);
const seed = Number(process.env.FUZZ_SEED ?? 1);
const chosen = process.env.FUZZ_TARGETS?.split(",") ?? Object.keys(FUZZ_TARGETS);
/** Inputs of a short run. */
const COUNT = 300;
/** Milliseconds for one input of at most 64 KiB: far more than any linear work takes on a busy machine. */
const LONGEST = 30_000;

test.each(chosen)("%s", { timeout: 600_000 + seconds * 2000 }, async (name) => {
  const { open, seeds, tokens } = FUZZ_TARGETS[name]!;
  const draw = drawsFrom(seed);
  const inputs = seeds.map((input) => (typeof input === "string" ? Buffer.from(input) : input));
  const { feed, close } = await open();
  const end = performance.now() + seconds * 1000;
  let count = 0;
  try {
    for (; seconds > 0 ? performance.now() < end : count < COUNT; count++) {
      const input = mutate(inputs, tokens, draw);
      const begun = performance.now();
      try {
        await feed(input);
      } catch (error) {
        if (!isInstructPix2PixError(error)) throw new Error(`${keep(name, input)}: ${error}`, { cause: error });
      }
      if (performance.now() - begun > LONGEST) throw new Error(`${keep(name, input)}: takes ${LONGEST} ms and more`);
    }
  } finally {
    await close?.();
  }
  console.log(`fuzz: ${name}: ${count} inputs, no failure`);
  expect(count).toBeGreaterThan(0);
});

/** Saves an input that failed. */
function keep(name: string, input: Buffer): string {
  const folder = join("build", "fuzz", `${name}-findings`);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `seed-${seed}-${Date.now()}`);
  writeFileSync(path, input);
  return path;
}
