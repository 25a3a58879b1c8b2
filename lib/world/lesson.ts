import type { Edit } from "./edit.js";
import { Random } from "./random.js";
import { randomScene, type Scene } from "./scene.js";

const PHRASES = [
  "make it an old photograph",
  "turn it into an old photograph",
  "make it look old",
  "show it as an old photograph",
  "give it a sepia tone",
];

/**
 * Example number `index` of a lesson: old photographs, which are not in the world's data set, so that a model of the
 * world can be fine-tuned on them. As {@link worldExample} otherwise.
 */
export function lessonExample(seed: number, index: number): { scene: Scene; edit: Edit } {
  const random = new Random(seed, index);
  const scene: Scene = { ...randomScene(random), style: "none" };
  return { scene, edit: { family: "style", instruction: random.pick(PHRASES), target: { ...scene, style: "sepia" } } };
}
