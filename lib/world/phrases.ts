/**
 * Wordings of edits. Placeholders: `{it}`, an object of the scene ("the red star"); `{new}`, one to come ("a blue
 * heart"); `{colour}`; `{place}` ("top left"); `{background}`, and `{a background}` with its article.
 */
export const PHRASES = {
  recolour: [
    "make {it} {colour}",
    "turn {it} {colour}",
    "paint {it} {colour}",
    "change {it} to {colour}",
    "colour {it} {colour}",
    "{it} should be {colour}",
  ],
  replace: [
    "replace {it} with {new}",
    "turn {it} into {new}",
    "swap {it} for {new}",
    "change {it} into {new}",
    "put {new} in place of {it}",
  ],
  remove: ["remove {it}", "delete {it}", "erase {it}", "take away {it}", "get rid of {it}", "make {it} disappear"],
  add: [
    "add {new} in the {place}",
    "put {new} in the {place}",
    "draw {new} in the {place}",
    "place {new} in the {place}",
    "there should be {new} in the {place}",
  ],
  bigger: ["make {it} bigger", "make {it} larger", "enlarge {it}", "grow {it}", "let {it} grow"],
  smaller: ["make {it} smaller", "shrink {it}", "reduce {it}", "make {it} shrink", "let {it} shrink"],
  move: [
    "move {it} to the {place}",
    "shift {it} to the {place}",
    "bring {it} to the {place}",
    "drag {it} to the {place}",
    "{it} should be in the {place}",
  ],
  background: [
    "make the background {background}",
    "turn the background {background}",
    "paint the background {background}",
    "change the background to {background}",
    "give it {a background} background",
    "put it on {a background} background",
  ],
  night: ["make it night", "turn it into night", "turn day into night", "let night fall", "show it at night"],
  day: ["make it day", "turn it into day", "turn night into day", "let day break", "show it by day"],
  snow: ["let it snow", "make it snow", "add snow", "cover it with snow", "turn it into winter"],
  clear: ["stop the snow", "remove the snow", "take away the snow", "let the snow melt", "get rid of the snow"],
  grey: [
    "make it black and white",
    "turn it black and white",
    "take away the colours",
    "remove all colours",
    "show it in black and white",
  ],
  inverted: [
    "invert the colours",
    "invert it",
    "invert all colours",
    "swap the colours for their opposites",
    "turn it into a negative",
  ],
  pixelated: ["pixelate it", "make it pixelated", "turn it into big pixels", "show it in big pixels", "make it blocky"],
} as const satisfies Record<string, readonly string[]>;

export type PhraseName = keyof typeof PHRASES;

/** Fills the placeholders of a phrase. */
export function fillPhrase(phrase: string, words: Readonly<Record<string, string>>): string {
  return phrase.replace(/\{([^}]+)\}/g, (_, name: string) => words[name]!);
}

/** `a star`, `an orange star` */
export function withArticle(words: string): string {
  return `${/^[aeiou]/.test(words) ? "an" : "a"} ${words}`;
}
