import { InstructPix2PixError } from "../core/errors.js";
import { drawPixels } from "./draw.js";
import { fillPhrase, PHRASES, type PhraseName, withArticle } from "./phrases.js";
import type { Random } from "./random.js";
import { fits, MAX_OBJECTS, type Scene, type SceneObject } from "./scene.js";
import { BACKGROUND_NAMES, CELLS, COLOUR_NAMES, SHAPES, SIZES, STYLES } from "./vocabulary.js";

/** The families of edits. */
export const EDIT_FAMILIES = [
  "recolour",
  "replace",
  "remove",
  "add",
  "resize",
  "move",
  "background",
  "time",
  "weather",
  "style",
] as const;
export type EditFamily = (typeof EDIT_FAMILIES)[number];

/** An instruction and the resulting scene. */
export interface Edit {
  family: EditFamily;
  /** Lower case, without punctuation. */
  instruction: string;
  target: Scene;
}

/** An edit before a wording is chosen. */
interface Change {
  phrase: PhraseName;
  words?: Record<string, string>;
  target: Scene;
}

/** Draws a random change of a family; undefined if it is impossible in this scene. */
type Proposal = (scene: Scene, random: Random) => Change | undefined;

/** Maximal number of draws until a change is possible and visible. */
const ATTEMPTS = 24;
/** Size of the images in which changes are checked for visibility, */
const SEEN_SIZE = 32;
/** the number of pixels that must change, */
const SEEN_SHARE = 0.02;
/** and the minimal change in a colour channel. */
const SEEN_LEVELS = 32;

/**
 * A random edit of a scene, of the family given or any that is possible. It changes the image visibly. A scene that is
 * black and white or pixelated no longer shows what could be edited and has none; one with inverted colours can be
 * inverted back.
 *
 * @returns undefined if the family is impossible here
 */
export function randomEdit(scene: Scene, random: Random, family?: EditFamily): Edit | undefined {
  const before = drawPixels(scene, SEEN_SIZE);
  for (const candidate of family === undefined ? random.shuffle(EDIT_FAMILIES) : [family]) {
    const edit = draw(scene, random, candidate, [before]);
    if (edit) return edit;
  }
  return undefined;
}

/**
 * Random edits whose results differ visibly from each other, from that of the edit given, and from the scene itself.
 *
 * @param count how many
 * @throws `ERR_INVALID_ARGUMENT` if the scene has fewer
 */
export function otherEdits(scene: Scene, random: Random, count: number, not: Edit): Edit[] {
  const seen = [drawPixels(scene, SEEN_SIZE), drawPixels(not.target, SEEN_SIZE)];
  const edits: Edit[] = [];
  let families = random.shuffle(EDIT_FAMILIES);
  while (edits.length < count && families.length > 0) {
    const possible: EditFamily[] = [];
    for (const family of families) {
      const edit = edits.length < count ? draw(scene, random, family, seen) : undefined;
      if (!edit) continue;
      seen.push(drawPixels(edit.target, SEEN_SIZE));
      edits.push(edit);
      possible.push(family);
    }
    families = possible;
  }
  if (edits.length < count)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `this scene has no ${count} other edits, only ${edits.length}`,
    );
  return edits;
}

function draw(scene: Scene, random: Random, family: EditFamily, unlike: readonly Uint8Array[]): Edit | undefined {
  if (scene.style !== "none" && family !== "style") return undefined;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const change = PROPOSALS[family](scene, random);
    if (!change) continue;
    const after = drawPixels(change.target, SEEN_SIZE);
    if (!unlike.every((pixels) => differVisibly(pixels, after))) continue;
    const instruction = fillPhrase(random.pick<string>(PHRASES[change.phrase]), change.words ?? {});
    return { family, instruction, target: change.target };
  }
  return undefined;
}

function differVisibly(a: Uint8Array, b: Uint8Array): boolean {
  let left = Math.ceil((SEEN_SHARE * a.length) / 3);
  for (let i = 0; i < a.length && left > 0; i += 3)
    if (
      Math.abs(a[i]! - b[i]!) >= SEEN_LEVELS ||
      Math.abs(a[i + 1]! - b[i + 1]!) >= SEEN_LEVELS ||
      Math.abs(a[i + 2]! - b[i + 2]!) >= SEEN_LEVELS
    )
      left--;
  return left === 0;
}

const PROPOSALS: Record<EditFamily, Proposal> = {
  recolour: changeObject((object, random) => {
    const colour = random.pick(COLOUR_NAMES);
    return { phrase: "recolour", words: { colour }, object: { ...object, colour } };
  }),
  replace: changeObject((object, random) => {
    const shape = random.pick(SHAPES);
    if (shape === object.shape) return undefined;
    if (random.chance(0.4))
      return { phrase: "replace", words: { new: withArticle(shape) }, object: { ...object, shape } };
    const colour = random.pick(COLOUR_NAMES);
    return {
      phrase: "replace",
      words: { new: withArticle(`${colour} ${shape}`) },
      object: { ...object, shape, colour },
    };
  }),
  resize: changeObject((object, random) => {
    const step = random.pick([-1, 1]);
    const size = SIZES[SIZES.indexOf(object.size) + step];
    return size && { phrase: step > 0 ? "bigger" : "smaller", object: { ...object, size } };
  }),
  move: changeObject((object, random) => {
    const cell = random.pick(CELLS);
    return cell === object.place.cell
      ? undefined
      : { phrase: "move", words: { place: cell }, object: { ...object, place: { cell, dx: 0, dy: 0 } } };
  }),
  remove: (scene, random) => {
    if (scene.objects.length === 0) return undefined;
    const object = random.pick(scene.objects);
    const objects = scene.objects.filter((other) => other !== object);
    return { phrase: "remove", words: { it: reference(object, scene, random) }, target: { ...scene, objects } };
  },
  add: (scene, random) => {
    const [colour, shape, cell] = [random.pick(COLOUR_NAMES), random.pick(SHAPES), random.pick(CELLS)];
    const size = random.chance(0.5) ? "medium" : random.pick(SIZES);
    const object: SceneObject = { shape, colour, size, place: { cell, dx: 0, dy: 0 } };
    if (scene.objects.length >= MAX_OBJECTS || !fits(object, scene.objects)) return undefined;
    const words = { new: withArticle(describe(object)), place: cell };
    return { phrase: "add", words, target: { ...scene, objects: [...scene.objects, object] } };
  },
  background: (scene, random) => {
    const colour = random.pick(BACKGROUND_NAMES);
    const { background } = scene;
    if (colour === background.colour || ("to" in background && colour === background.to)) return undefined;
    const words = { background: colour, "a background": withArticle(colour) };
    return { phrase: "background", words, target: { ...scene, background: { kind: "plain", colour } } };
  },
  time: (scene) => {
    const time = scene.time === "day" ? "night" : "day";
    return { phrase: time, target: { ...scene, time } };
  },
  weather: (scene) => {
    const weather = scene.weather === "clear" ? "snow" : "clear";
    return { phrase: weather, target: { ...scene, weather } };
  },
  style: (scene, random) => {
    if (scene.style === "inverted") return { phrase: "inverted", target: { ...scene, style: "none" } };
    if (scene.style !== "none") return undefined;
    const style = random.pick(STYLES);
    return style === "none" ? undefined : { phrase: style, target: { ...scene, style } };
  },
};

/** The proposal that changes one object and keeps the order of objects. */
function changeObject(
  change: (
    object: SceneObject,
    random: Random,
  ) => { phrase: PhraseName; words?: Record<string, string>; object: SceneObject } | undefined,
): Proposal {
  return (scene, random) => {
    if (scene.objects.length === 0) return undefined;
    const object = random.pick(scene.objects);
    const changed = change(object, random);
    const others = scene.objects.filter((other) => other !== object);
    if (!changed || !fits(changed.object, others)) return undefined;
    const objects = scene.objects.map((other) => (other === object ? changed.object : other));
    const words = { it: reference(object, scene, random), ...changed.words };
    return { phrase: changed.phrase, words, target: { ...scene, objects } };
  };
}

/** `the red star`; now and then `the star`, if it is the only one. */
function reference({ colour, shape }: SceneObject, scene: Scene, random: Random): string {
  const only = scene.objects.filter((other) => other.shape === shape).length === 1;
  return only && random.chance(0.3) ? `the ${shape}` : `the ${colour} ${shape}`;
}

/** `red star`, `small red star`: medium is not said. */
export function describe({ size, colour, shape }: SceneObject): string {
  return size === "medium" ? `${colour} ${shape}` : `${size} ${colour} ${shape}`;
}
