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
 * Example number `index` of a lesson: old photographs, which no instruction of the world's data set asks for, so that a
 * model of the world has never seen them and can be taught. As {@link worldExample} otherwise.
 */
export function lessonExample(seed: number, index: number): { scene: Scene; edit: Edit } {
  const random = new Random(seed, index);
  const scene: Scene = { ...randomScene(random), style: "none" };
  return { scene, edit: { family: "style", instruction: random.pick(PHRASES), target: { ...scene, style: "sepia" } } };
}
