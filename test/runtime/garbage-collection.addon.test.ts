import { expect, test } from "vitest";
import { measureInChild } from "./child.js";

const MEGABYTE = 2 ** 20;

/** In bytes. */
interface Figures {
  resident: number;
  counted: number;
}

// Side by side: freed memory is kept at hand for ten seconds before it is returned.
test.concurrent.each(["tensors", "arrays", "models", "results"])(
  "%s that were not disposed of are freed by garbage collection",
  async (what) => {
    const { base, held, collected } = await measureInChild<{ base: Figures; held: Figures; collected: Figures }>(
      "collected.mjs",
      [what],
      { nodeOptions: ["--expose-gc"] },
    );
    // What the program holds: 160 MB, or of the small model 8 copies.
    const size = what === "models" ? 4 * MEGABYTE : 160 * MEGABYTE;
    expect(held.counted - base.counted).toBeGreaterThanOrEqual(size);
    expect(collected.counted - base.counted).toBeLessThan(MEGABYTE / 16);
    // The allocator keeps small blocks for reuse.
    if (what === "models") return;
    expect(held.resident - base.resident).toBeGreaterThan(size * 0.9);
    expect(collected.resident - base.resident).toBeLessThan(size / 4);
  },
);

test("a program that never disposes does not run out of memory, since V8 knows the size of tensors", async () => {
  const { allocated, peak } = await measureInChild<{ allocated: number; peak: number }>("never-disposes.mjs");
  expect(allocated).toBeGreaterThan(4000 * MEGABYTE);
  expect(peak).toBeLessThan(1000 * MEGABYTE);
});
