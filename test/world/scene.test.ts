import { expect, it } from "vitest";
import { drawPixels } from "../../lib/world/draw.js";
import { fits, type Place, type SceneObject } from "../../lib/world/scene.js";
import { SHAPES, SIZES } from "../../lib/world/vocabulary.js";

const PLACES: readonly Place[] = [
  { cell: "top left", dx: 0, dy: 0 },
  ...[0, 1, 2].flatMap((inwards) => [
    { cell: "middle", dx: -inwards, dy: -inwards } as const,
    { cell: "top middle", dx: -inwards, dy: inwards } as const,
  ]),
];

/** Where an object alone covers the background: even its rim has less green than that has in a shadow. */
function cover(object: SceneObject): boolean[] {
  const pixels = drawPixels(
    { background: { kind: "plain", colour: "grey" }, objects: [object], time: "day", weather: "clear", style: "none" },
    64,
  );
  return Array.from({ length: 64 * 64 }, (_, i) => pixels[3 * i + 1]! < 90);
}

it("finds room for an object only where it touches no other", () => {
  const looks = SHAPES.flatMap((shape) => SIZES.map((size) => ({ shape, size, colour: "red" as const })));
  const [here, ...there] = PLACES.map((place) =>
    looks.map((look) => ({ object: { ...look, place }, covered: cover({ ...look, place }) })),
  );
  let room = 0;
  for (const one of here!)
    for (const other of there.flat()) {
      const painted = { ...other.object, colour: "blue" as const };
      if (!fits(painted, [one.object])) continue;
      room++;
      const shared = one.covered.some((covered, i) => covered && other.covered[i]);
      expect(shared, JSON.stringify([one.object, painted])).toBe(false);
    }
  expect(room).toBeGreaterThan(500);
});
