import type { Random } from "../world/random.js";
import { KINDS, type Words } from "./families/family.js";
import { FAMILIES, type PhotoFamily, SINGLE_FAMILIES, type SingleFamily } from "./families/index.js";
import type { Photo } from "./pixels.js";
import { type Degree, phrasesFor, wordCaption, wordEdit } from "./wording.js";

/** One thing that is done to a photograph. */
export interface EditStep {
  family: SingleFamily;
  degree: Degree;
  /** The variant, such as a colour. */
  words: Words;
}

/** An instruction, and what it means: plain data. */
export interface PhotoEdit {
  family: PhotoFamily;
  /** Lower case, without punctuation. */
  instruction: string;
  /** What the result shows, beginning with "a photograph". */
  caption: string;
  /** One step, or two of a combination, in the order in which they are applied. */
  steps: EditStep[];
}

/** What a caption says of any photograph. */
export const CAPTION = "a photograph";

/** The result of an edit: always the same for the same photograph. */
export function applyEdit(photo: Photo, { steps }: Pick<PhotoEdit, "steps">): Photo {
  return steps.reduce((edited, { family, degree, words }) => FAMILIES[family].apply(edited, degree, words), photo);
}

/** Share of edits without a word of degree, where a family has degrees. */
const PLAIN_SHARE = 0.5;

/** Words between the instructions of a combination. */
export const AND = [" and ", " and then ", " then ", " and also "] as const;
const PAIRS_TRIED = 12;

/**
 * A random edit of a family.
 *
 * @returns undefined if the photograph does not allow it: it lacks the colours, or has no sky
 */
export function randomPhotoEdit(photo: Photo, random: Random, family: PhotoFamily): PhotoEdit | undefined {
  if (family === "combination") return randomCombination(photo, random);
  const step = randomStep(photo, random, family);
  return step && { family, instruction: instruct(step, random), caption: captionOf([step]), steps: [step] };
}

function randomStep(photo: Photo, random: Random, family: SingleFamily): EditStep | undefined {
  const { variant, degrees = true, phrases } = FAMILIES[family];
  const words = variant ? variant(photo, random) : {};
  if (!words) return undefined;
  const degree = !degrees || random.chance(PLAIN_SHARE) ? "plain" : random.pick(["slight", "strong"] as const);
  return { family, degree: phrasesFor(phrases, degree).length > 0 ? degree : "plain", words };
}

function randomCombination(photo: Photo, random: Random): PhotoEdit | undefined {
  for (let attempt = 0; attempt < PAIRS_TRIED; attempt++) {
    const [one, other] = [random.pick(SINGLE_FAMILIES), random.pick(SINGLE_FAMILIES)];
    if (!canCombine(one, other)) continue;
    const [first, second] = [one, other]
      .sort((a, b) => rankOf(a) - rankOf(b))
      .map((family) => randomStep(photo, random, family));
    if (!first || !second) continue;
    const steps = [first, second];
    // People name things in any order, unless they say which comes first.
    const and = random.pick(AND);
    const named = and.includes("then") || random.chance(0.5) ? steps : steps.toReversed();
    const instruction = named.map((step) => instruct(step, random)).join(and);
    return { family: "combination", instruction, caption: captionOf(steps), steps };
  }
  return undefined;
}

const rankOf = (family: SingleFamily): number => KINDS.indexOf(FAMILIES[family].kind);

/** Whether two families make sense together: they are of different kinds, and one does not take what the other changes. */
export function canCombine(one: SingleFamily, other: SingleFamily): boolean {
  const [a, b] = [FAMILIES[one], FAMILIES[other]];
  if (a.kind === b.kind) return false;
  const needsColours = (kind: string) => kind === "colour" || kind === "place" || kind === "time";
  return !(a.colourless && needsColours(b.kind)) && !(b.colourless && needsColours(a.kind));
}

function instruct({ family, degree, words }: EditStep, random: Random): string {
  return wordEdit(FAMILIES[family].phrases, degree, words, random);
}

function captionOf(steps: readonly EditStep[]): string {
  return [
    CAPTION,
    ...steps.map(({ family, degree, words }) => wordCaption(FAMILIES[family].caption, degree, words)),
  ].join(", ");
}

/** Levels (of 255) of a channel that can be seen, and the share of pixels that must change by so much. */
const SEEN_LEVELS = 8;
const SEEN_SHARE = 0.04;

/** Whether two photographs of one size differ visibly. */
export function differVisibly(a: Photo, b: Photo): boolean {
  let left = Math.ceil((SEEN_SHARE * a.data.length) / 3);
  const least = SEEN_LEVELS / 255;
  for (let i = 0; i < a.data.length && left > 0; i += 3)
    if (
      Math.abs(a.data[i]! - b.data[i]!) >= least ||
      Math.abs(a.data[i + 1]! - b.data[i + 1]!) >= least ||
      Math.abs(a.data[i + 2]! - b.data[i + 2]!) >= least
    )
      left--;
  return left === 0;
}
