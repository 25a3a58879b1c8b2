import { CAPTION_WORDS } from "./caption.js";
import { PHRASES } from "./phrases.js";
import { BACKGROUND_NAMES, CELLS, COLOUR_NAMES, SHAPES, SIZES } from "./vocabulary.js";

const texts: readonly string[] = [
  CAPTION_WORDS,
  ...Object.values(PHRASES).flatMap((phrases) => phrases.map((phrase) => phrase.replace(/\{[^}]*\}/g, ""))),
  ...[...COLOUR_NAMES, ...BACKGROUND_NAMES, ...SHAPES, ...SIZES, ...CELLS],
];

/** All words that an instruction or a caption can contain: lower case, sorted, each once. */
export const WORLD_WORDS: readonly string[] = [...new Set(texts.flatMap((text) => text.split(" ")))]
  .filter((word) => word !== "")
  .sort();
