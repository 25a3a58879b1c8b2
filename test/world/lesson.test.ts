import { expect, test } from "vitest";
import { drawPixels } from "../../lib/world/draw.js";
import { lessonExample, WORLD_WORDS, worldExample } from "../../lib/world/index.js";

const examples = Array.from({ length: 200 }, (_, index) => lessonExample(5, index));

test("a lesson's edits do not occur in the world's data set", () => {
  const known = new Set(WORLD_WORDS);
  for (const { edit } of examples) expect(edit.instruction.split(" ").every((word) => known.has(word))).toBe(false);
  for (let index = 0; index < 500; index++) expect(worldExample(5, index).edit.target.style).not.toBe("sepia");
});

test("an example of a lesson is the same every time, and its images differ everywhere", () => {
  for (const [index, { scene, edit }] of examples.entries()) {
    expect(lessonExample(5, index)).toEqual({ scene, edit });
    const [before, after] = [drawPixels(scene, 64), drawPixels(edit.target, 64)];
    const mean = before.reduce((sum, value, i) => sum + Math.abs(value - after[i]!), 0) / before.length;
    expect(mean).toBeGreaterThan(8);
  }
});
