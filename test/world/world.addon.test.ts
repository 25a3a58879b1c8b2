import { describe, expect, it } from "vitest";
import {
  caption,
  drawScene,
  EDIT_FAMILIES,
  otherEdits,
  Random,
  randomEdit,
  randomScene,
  WORLD_WORDS,
  worldExample,
} from "../../lib/world/index.js";

const SEED = 11;
const examples = Array.from({ length: 300 }, (_, index) => worldExample(SEED, index));

/** The share of pixels that differ by at least `levels` in one colour. */
function changedShare(a: Uint8Array, b: Uint8Array, levels: number): number {
  let changed = 0;
  for (let i = 0; i < a.length; i += 3)
    if ([0, 1, 2].some((channel) => Math.abs(a[i + channel]! - b[i + channel]!) >= levels)) changed++;
  return (3 * changed) / a.length;
}

describe("an example of the world", () => {
  it("is the same each time, from any start index", () => {
    expect(worldExample(SEED, 217)).toEqual(examples[217]);
    expect(worldExample(SEED, 3)).toEqual(examples[3]);
    expect(JSON.stringify(worldExample(SEED, 5))).toBe(JSON.stringify(examples[5]));
  });

  it("differs for every index and every seed, also if only upper bits differ", () => {
    const scenes = [SEED, SEED + 1, SEED + 2 ** 32, 2 ** 53 - 1].flatMap((seed) =>
      [0, 1, 2, 2 ** 32, 2 ** 53 - 1].map((index) => JSON.stringify(worldExample(seed, index).scene)),
    );
    expect(new Set(scenes).size).toBe(scenes.length);
    expect(new Set(examples.map(({ scene }) => JSON.stringify(scene))).size).toBe(examples.length);
  });

  it("refuses seeds and indices that are not whole numbers", () => {
    for (const wrong of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(() => worldExample(wrong, 0)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
      expect(() => worldExample(0, wrong)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
    }
  });

  it("shows all families equally often, each in at least five wordings", () => {
    for (const family of EDIT_FAMILIES) {
      const instructions = examples.filter(({ edit }) => edit.family === family).map(({ edit }) => edit.instruction);
      expect(instructions).toHaveLength(examples.length / EDIT_FAMILIES.length);
      expect(new Set(instructions.map((text) => text.split(" ")[0])).size, family).toBeGreaterThanOrEqual(3);
      expect(new Set(instructions).size, family).toBeGreaterThanOrEqual(5);
    }
  });

  it("uses only the words of the list, in short instructions", () => {
    const words = new Set(WORLD_WORDS);
    expect([...words].sort()).toEqual(WORLD_WORDS);
    for (const { scene, edit } of examples) {
      expect(edit.instruction.split(" ").length).toBeLessThan(12);
      for (const text of [edit.instruction, caption(scene), caption(edit.target)])
        for (const word of text.split(" ")) expect(words, text).toContain(word);
    }
  });

  it("has objects apart from each other, of different looks, before and after", () => {
    for (const { objects } of examples.flatMap(({ scene, edit }) => [scene, edit.target])) {
      expect(new Set(objects.map(({ shape, colour }) => `${colour} ${shape}`)).size).toBe(objects.length);
      expect(new Set(objects.map(({ place }) => place.cell)).size).toBe(objects.length);
    }
  });

  it("describes the change of the image", () => {
    for (const { scene, edit } of examples) {
      if (edit.family === "recolour") {
        const changed = edit.target.objects.filter((object, i) => object.colour !== scene.objects[i]!.colour);
        expect(changed).toHaveLength(1);
        expect(edit.instruction.split(" ").at(-1)).toBe(changed[0]!.colour);
      }
      if (edit.family === "move") {
        const [moved] = edit.target.objects.filter((object, i) => object.place.cell !== scene.objects[i]!.place.cell);
        expect(edit.instruction.endsWith(`the ${moved!.place.cell}`)).toBe(true);
        expect(moved!.place).toMatchObject({ dx: 0, dy: 0 });
      }
      if (edit.family === "remove") expect(edit.target.objects).toHaveLength(scene.objects.length - 1);
      if (edit.family === "add") expect(edit.target.objects).toHaveLength(scene.objects.length + 1);
    }
  });

  it("visibly changes", async () => {
    for (const { scene, edit } of examples.slice(0, 100)) {
      const [before, after] = await Promise.all([drawScene(scene), drawScene(edit.target)]);
      expect(changedShare(before.data, after.data, 32), edit.instruction).toBeGreaterThanOrEqual(0.015);
    }
  });
});

describe("an edit", () => {
  it("is undefined where a family is impossible", () => {
    const scene = { ...randomScene(new Random(1)), style: "none" as const };
    expect(randomEdit({ ...scene, objects: [] }, new Random(0), "recolour")).toBeUndefined();
    expect(randomEdit({ ...scene, objects: [] }, new Random(0), "remove")).toBeUndefined();
    expect(randomEdit({ ...scene, style: "grey" }, new Random(0))).toBeUndefined();
    expect(randomEdit({ ...scene, style: "inverted" }, new Random(0), "style")?.target).toEqual(scene);
    for (const family of EDIT_FAMILIES) expect(randomEdit(scene, new Random(0), family)?.family ?? family).toBe(family);
  });

  it("undoes night and snow", () => {
    const scene = {
      ...randomScene(new Random(2)),
      time: "day" as const,
      weather: "clear" as const,
      style: "none" as const,
    };
    for (const family of ["time", "weather"] as const) {
      const there = randomEdit(scene, new Random(0), family)!;
      expect(there.target).not.toEqual(scene);
      expect(randomEdit(there.target, new Random(0), family)?.target).toEqual(scene);
    }
  });

  it("has alternatives that all look different", async () => {
    for (const { scene, edit } of examples.filter(({ scene }) => scene.style === "none").slice(0, 12)) {
      const others = otherEdits(scene, new Random(3), 7, edit);
      expect(others).toHaveLength(7);
      const pictures = await Promise.all(
        [scene, edit.target, ...others.map(({ target }) => target)].map((shown) => drawScene(shown)),
      );
      for (const [i, one] of pictures.entries())
        for (const other of pictures.slice(0, i)) expect(changedShare(one.data, other.data, 32)).toBeGreaterThan(0.015);
    }
  });

  it("refuses to find alternatives if there are none", () => {
    const { scene, edit } = examples[0]!;
    expect(() => otherEdits({ ...scene, style: "grey" }, new Random(0), 1, edit)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }),
    );
  });
});

describe("a drawn scene", () => {
  it("is the same each time", async () => {
    for (const { scene } of examples.slice(0, 20))
      expect((await drawScene(scene)).equals(await drawScene(structuredClone(scene)))).toBe(true);
  });

  it("is 64 pixels wide unless told otherwise, and looks the same at any size", async () => {
    for (const { edit } of examples.slice(0, 10)) {
      const picture = await drawScene(edit.target);
      expect([picture.width, picture.height]).toEqual([64, 64]);
      const larger = await drawScene(edit.target, 160);
      const reduced = await larger.resize(64, 64, "box");
      expect(changedShare(picture.data, reduced.data, 64)).toBeLessThan(0.02);
    }
    expect((await drawScene(examples[0]!.scene, 1)).data).toHaveLength(3);
    await expect(drawScene(examples[0]!.scene, 0)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    await expect(drawScene(examples[0]!.scene, 64.5)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  });
});

describe("Random", () => {
  it("is uniform enough, and gives streams that have nothing in common", () => {
    const counts = new Array(10).fill(0);
    const random = new Random(0, 0);
    for (let i = 0; i < 20_000; i++) counts[random.int(10)]++;
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(200);

    const first = Array.from({ length: 2000 }, (_, stream) => new Random(0, stream).float());
    const mean = first.reduce((sum, value) => sum + value, 0) / first.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.03);
    expect(new Set(first).size).toBeGreaterThan(1990);
  });

  it("shuffles without loss and leaves the list as it was", () => {
    const list = [1, 2, 3, 4, 5, 6];
    const shuffled = new Random(4).shuffle(list);
    expect([...shuffled].sort()).toEqual(list);
    expect(list).toEqual([1, 2, 3, 4, 5, 6]);
  });
});
