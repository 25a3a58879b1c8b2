import { type ErrorCode, InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { MAX_PATTERN_LENGTH, type Pattern } from "./pattern.js";

/** Far more patterns than any real list of files has. */
const MAX_PATTERNS = 10_000;
/** Limit on matching steps for one list of names: a few seconds. */
const MAX_WORK = 2e8;

/** A pattern syntax, and the error code for invalid patterns. */
export interface PatternLanguage {
  readonly parse: (pattern: string) => Pattern;
  readonly code: ErrorCode;
}

/**
 * For each pattern, the names that match it, in their own order. A pattern without wildcards that equals a name is
 * looked up directly.
 *
 * @throws `language.code` for more than 10,000 patterns, one of more than 1024 characters, and patterns that would take
 * minutes to match against these names; and what `language.parse` throws
 */
export function namesByPattern(
  names: readonly string[],
  patterns: readonly string[],
  { parse, code }: PatternLanguage,
): string[][] {
  if (patterns.length > MAX_PATTERNS)
    throw new InstructPix2PixError(code, `${patterns.length} patterns of file names are more than ${MAX_PATTERNS}`);
  const known = new Set(names);
  let work = 0;
  return patterns.map((text) => {
    if (text.length > MAX_PATTERN_LENGTH)
      throw new InstructPix2PixError(code, `the pattern ${quote(text)} has more than ${MAX_PATTERN_LENGTH} characters`);
    if (!/[*?[]/.test(text)) return known.has(text) ? [text] : [];
    const pattern = parse(text);
    const found: string[] = [];
    for (const name of names) {
      if (pattern.test(name)) found.push(name);
      if (work + pattern.work > MAX_WORK)
        throw new InstructPix2PixError(
          code,
          `${patterns.length} patterns and ${names.length} files are too many to be matched; the pattern ${quote(text)} takes long`,
        );
    }
    work += pattern.work;
    return found;
  });
}
