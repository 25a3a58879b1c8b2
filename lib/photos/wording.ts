import type { Random } from "../world/random.js";

/** How far an edit goes: "slightly", without a word, "strongly". */
export const DEGREES = ["slight", "plain", "strong"] as const;
export type Degree = (typeof DEGREES)[number];

/** The value for a degree. */
export function byDegree<T>(degree: Degree, values: readonly [slight: T, plain: T, strong: T]): T {
  return values[DEGREES.indexOf(degree)]!;
}

/** What `{it}` can be. */
const IT = ["it", "the photo", "the image", "the picture", "this photo", "the photograph"] as const;

/**
 * Words of degree, by what they stand beside: `{more}` before a comparative ("much darker"), `{by}` behind or before a verb
 * ("blur it a little"), `{very}` before an adjective ("very foggy"), `{of}` before a noun ("a lot of snow").
 */
const WORDS_OF_DEGREE = {
  more: { slight: ["slightly", "a little", "a bit"], plain: [""], strong: ["much", "a lot", "far"] },
  by: { slight: ["slightly", "a little", "a bit"], plain: [""], strong: ["strongly", "a lot", "heavily"] },
  very: { slight: ["slightly", "a little", "a bit"], plain: [""], strong: ["very", "really", "extremely"] },
  of: { slight: ["a little", "a bit of", "some light"], plain: [""], strong: ["a lot of", "heavy", "lots of"] },
} as const;
type Slot = keyof typeof WORDS_OF_DEGREE;
const SLOT = new RegExp(`\\{(${Object.keys(WORDS_OF_DEGREE).join("|")})\\}`);

/** The phrases of a list that can say a degree: without a place for it a phrase says the plain one. */
export function phrasesFor(phrases: readonly string[], degree: Degree): string[] {
  return degree === "plain" ? [...phrases] : phrases.filter((phrase) => SLOT.test(phrase));
}

/** Draws a wording from phrases and fills their places. */
export function wordEdit(
  phrases: readonly string[],
  degree: Degree,
  words: Readonly<Record<string, string>>,
  random: Random,
): string {
  const phrase = random
    .pick(phrasesFor(phrases, degree))
    .replace(SLOT, (_, slot: Slot) => random.pick<string>(WORDS_OF_DEGREE[slot][degree]))
    .replace("{it}", () => random.pick(IT));
  return filled(phrase, words);
}

/** Puts in the words that a family chose, and what belongs behind an article. */
function filled(phrase: string, words: Readonly<Record<string, string>>): string {
  return phrase
    .replace(/\{(\w+)\}/g, (_, name: string) => words[name]!)
    .replace(/ {2,}/g, " ")
    .replace(/\ba a lot(?! of)\b/g, "a much")
    .replace(/\ba (?:a little|a bit)(?! of)\b/g, "a slightly")
    .replace(/\ba(?= extremely\b)/g, "an")
    .trim();
}

/** Fills a caption: `{very}` with a degree in one wording. */
export function wordCaption(caption: string, degree: Degree, words: Readonly<Record<string, string>>): string {
  const [slot] = (SLOT.exec(caption)?.slice(1) as [Slot] | undefined) ?? [];
  return filled(caption.replace(SLOT, slot ? WORDS_OF_DEGREE[slot][degree][0] : ""), words);
}

/** All words with which {@link wordEdit} fills places for itself. */
export const FILLING_WORDS: readonly string[] = [
  ...IT,
  ...Object.values(WORDS_OF_DEGREE).flatMap((byDegree) => Object.values(byDegree).flat()),
];
