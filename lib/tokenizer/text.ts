import { InstructPix2PixError } from "../core/errors.js";
import { ASSIGNED_AFTER_UNICODE_16, INERT_IN_NFC } from "./unicode.js";

const INERT_RUN = new RegExp(`([${INERT_IN_NFC}]+)`, "u");
const MAY_HOLD_INERT = /[\u0700-\u{10ffff}]/u;
const WHITE_SPACE_RUN = /\p{White_Space}+/gu;

const MARKS = /\p{M}+/gu;

/** Sorting the marks on one letter takes time with the square of their number. No script puts even 30 on one. */
const MAX_MARKS = 1000;

/** Normalisation form C by the tables of the `tokenizers` library. */
function composed(text: string): string {
  for (const [marks] of text.matchAll(MARKS))
    if (marks.length > MAX_MARKS)
      throw new InstructPix2PixError("ERR_TOKENIZER", `the text has more than ${MAX_MARKS} combining marks in a row`);
  if (!MAY_HOLD_INERT.test(text)) return text.normalize("NFC");
  // Splitting on a captured group puts the inert runs at odd indices.
  return text
    .split(INERT_RUN)
    .map((part, index) => (index % 2 === 1 ? part : part.normalize("NFC")))
    .join("");
}

/**
 * CLIP's text normalisation: form C, every run of white space one space, lower case.
 *
 * Lower case is that of each character by itself, so a capital sigma is always "σ": `toLowerCase` alone would write "ς"
 * at the end of a word, which is another token.
 *
 * @throws `ERR_TOKENIZER` for more than 1000 combining marks in a row
 */
export function normalizeText(text: string): string {
  return composed(text).replace(WHITE_SPACE_RUN, " ").replaceAll("Σ", "σ").toLowerCase();
}

// CLIP's split pattern: the two markers, English contractions, runs of letters, single numbers, runs of anything else.
const WORDS = new RegExp(
  [
    "<\\|startoftext\\|>",
    "<\\|endoftext\\|>",
    "'s|'t|'re|'ve|'m|'ll|'d",
    `[\\p{L}--[${ASSIGNED_AFTER_UNICODE_16}]]+`,
    `[\\p{N}--[${ASSIGNED_AFTER_UNICODE_16}]]`,
    `[[^\\p{White_Space}\\p{L}\\p{N}]${ASSIGNED_AFTER_UNICODE_16}]+`,
  ].join("|"),
  "gv",
);

// The byte level splits once more, by GPT-2's pattern. All that it ever finds left to split in CLIP's words are the two
// markers, and those only where they are not special tokens.
const MARKER_WORDS: ReadonlyMap<string, readonly string[]> = new Map([
  ["<|startoftext|>", ["<|", "startoftext", "|>"]],
  ["<|endoftext|>", ["<|", "endoftext", "|>"]],
]);

/** Splits normalised text into the words for byte-pair encoding. White space only separates. */
export function splitWords(text: string): string[] {
  return (text.match(WORDS) ?? []).flatMap((word) => MARKER_WORDS.get(word) ?? word);
}
