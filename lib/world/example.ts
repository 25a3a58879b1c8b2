import { EDIT_FAMILIES, type Edit, type EditFamily, randomEdit } from "./edit.js";
import { Random } from "./random.js";
import { randomScene, type Scene } from "./scene.js";

/**
 * Example number `index` of the endless data set of a seed: a scene and an edit of it. Families take turns, so all are
 * equally frequent; every example costs the same, at any index; different seeds are independent.
 *
 * @param seed a whole number in 0..2⁵³−1
 * @param index a whole number in 0..2⁵³−1
 * @param families the families to alternate; all by default
 * @throws `ERR_INVALID_ARGUMENT` for other numbers
 */
export function worldExample(
  seed: number,
  index: number,
  families: readonly EditFamily[] = EDIT_FAMILIES,
): { scene: Scene; edit: Edit } {
  const random = new Random(seed, index);
  const family = families[index % families.length]!;
  for (;;) {
    const scene = randomScene(random);
    const edit = randomEdit(scene, random, family);
    if (edit) return { scene, edit };
  }
}
