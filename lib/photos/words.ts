import { AND, CAPTION } from "./edit.js";
import { FAMILIES } from "./families/index.js";
import { FILLING_WORDS } from "./wording.js";

const texts: readonly string[] = [
  CAPTION,
  ...AND,
  ...FILLING_WORDS,
  ...Object.values(FAMILIES).flatMap(({ phrases, caption, variantWords = [] }) =>
    [...phrases, caption].map((phrase) => phrase.replace(/\{[^}]*\}/g, "")).concat(variantWords),
  ),
];

/** All words that an instruction or a caption of photographs can contain: lower case, sorted, each once. */
export const PHOTO_WORDS: readonly string[] = [...new Set(texts.flatMap((text) => text.split(/[ ,]+/)))]
  .filter((word) => word !== "")
  .sort();
