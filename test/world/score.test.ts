import { describe, expect, it } from "vitest";
import { drawPixels } from "../../lib/world/draw.js";
import { EDIT_FAMILIES, EditJudge, otherEdits, Random, summariseScores, worldExample } from "../../lib/world/index.js";

const SEED = 12;
const SIZE = 64;
const judged = Array.from({ length: 60 }, (_, index) => {
  const { scene, edit } = worldExample(SEED, index);
  return { scene, edit, index, judge: new EditJudge(scene, edit, new Random(SEED + 1, index)) };
});

function picture(data: Uint8Array, size = SIZE) {
  return { width: size, height: size, data };
}

function noise(random: Random) {
  return picture(Uint8Array.from({ length: 3 * SIZE * SIZE }, () => random.int(256)));
}

describe("the score of an edit", () => {
  it("is no success for the untouched original, for every edit", () => {
    const scores = judged.map(({ judge, scene }) => judge.score(picture(drawPixels(scene, SIZE))));
    expect(summariseScores(scores)).toEqual({ success: 0, count: judged.length, outside: 0 });
    for (const { error } of scores) expect(error).toBeGreaterThan(0);
  });

  it("is success without error for the true target, for every edit", () => {
    const scores = judged.map(({ judge, edit }) => judge.score(picture(drawPixels(edit.target, SIZE))));
    expect(summariseScores(scores)).toEqual({ success: 1, count: judged.length, outside: 0 });
    for (const { error } of scores) expect(error).toBe(0);
  });

  it("is no success for noise, nor for plain grey", () => {
    for (const { judge, index } of judged) {
      expect(judge.score(noise(new Random(0, index))).success).toBe(false);
      expect(judge.score(picture(new Uint8Array(3 * SIZE * SIZE).fill(128))).success).toBe(false);
    }
  });

  it("is no success for another edit of the scene that the judge compares with", () => {
    for (const { scene, edit, index, judge } of judged.slice(0, EDIT_FAMILIES.length)) {
      const rivals = otherEdits(scene, new Random(SEED + 1, index), 15, edit);
      for (const { target } of rivals) expect(judge.score(picture(drawPixels(target, SIZE))).success).toBe(false);
    }
  });

  it("is success for a target seen through some noise", () => {
    for (const { judge, edit, index } of judged) {
      const random = new Random(1, index);
      const grainy = drawPixels(edit.target, SIZE).map((value) =>
        Math.min(255, Math.max(0, value + random.int(17) - 8)),
      );
      const { success, error } = judge.score(picture(grainy));
      expect(success, edit.instruction).toBe(true);
      expect(error).toBeGreaterThan(1e-4);
      expect(error).toBeLessThan(1e-3);
    }
  });

  it("counts as error outside what becomes of the pixels that the edit leaves", () => {
    const { scene, edit, judge } = judged.find(({ edit }) => edit.family === "recolour")!;
    const [before, after] = [drawPixels(scene, SIZE), drawPixels(edit.target, SIZE)];
    const changes = (i: number) => [0, 1, 2].some((c) => before[i - (i % 3) + c] !== after[i - (i % 3) + c]);
    const unchanged = after.filter((_, i) => !changes(i)).length / 3;
    expect(unchanged).toBeGreaterThan(3000);

    const damagedInside = after.map((value, i) => (changes(i) ? 255 - value : value));
    expect(judge.score(picture(damagedInside))).toMatchObject({ outside: 0, unchanged });
    const damagedOutside = after.map((value, i) => (changes(i) ? value : value < 128 ? value + 51 : value - 51));
    expect(judge.score(picture(damagedOutside)).outside).toBeCloseTo(51 / 255, 12);
  });

  it("has no error outside the edit where an edit changes every pixel", () => {
    const { edit, judge } = judged.find(({ edit }) => edit.family === "time")!;
    const score = judge.score(picture(drawPixels(edit.target, SIZE)));
    expect(score).toEqual({ success: true, error: 0, outside: undefined, unchanged: 0 });
    expect(summariseScores([score]).outside).toBeNull();
  });

  it("exists for scenes of inverted colours, which can only be inverted back", () => {
    const inverted = Array.from({ length: 60 }, (_, i) => worldExample(SEED, 10 * i + EDIT_FAMILIES.indexOf("style")))
      .filter(({ scene }) => scene.style === "inverted")
      .slice(0, 2);
    expect(inverted).toHaveLength(2);
    for (const { scene, edit } of inverted) {
      const judge = new EditJudge(scene, edit, new Random(2));
      expect(judge.score(picture(drawPixels(edit.target, SIZE))).success).toBe(true);
      expect(judge.score(picture(drawPixels(scene, SIZE))).success).toBe(false);
    }
  });

  it("requires images of the requested size", () => {
    const { scene, edit } = worldExample(SEED, 4);
    const judge = new EditJudge(scene, edit, new Random(3), 96);
    expect(judge.score(picture(drawPixels(edit.target, 96), 96)).success).toBe(true);
    expect(() => judge.score(picture(drawPixels(edit.target, SIZE)))).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: "the image must be 96×96, not 64×64" }),
    );
  });
});

describe("a summary of scores", () => {
  it("weighs the error outside by the pixels it was measured on", () => {
    const summary = summariseScores([
      { success: true, error: 0.1, outside: 0.02, unchanged: 3000 },
      { success: false, error: 0.2, outside: 0.1, unchanged: 1000 },
      { success: false, error: 0.2, outside: undefined, unchanged: 0 },
    ]);
    expect(summary.success).toBeCloseTo(1 / 3, 12);
    expect(summary.count).toBe(3);
    expect(summary.outside).toBeCloseTo(0.04, 12);
  });

  it("of nothing has no success", () => {
    expect(summariseScores([])).toEqual({ success: 0, count: 0, outside: null });
  });
});
