import { type CharacterTest, parseSet } from "./set.js";

/** A token of a pattern: one character, any number of characters, or any number of whole folders with their slashes. */
export type Token =
  | { readonly kind: "one"; readonly test: CharacterTest; readonly literal?: string }
  | { readonly kind: "many"; readonly test: CharacterTest }
  | { readonly kind: "folders" };

/** Longer patterns are refused; file names are at most this long. */
export const MAX_PATTERN_LENGTH = 1024;

const SLASH = 0x2f;
export const anyCharacter: CharacterTest = () => true;
export const notSlash: CharacterTest = (codePoint) => codePoint !== SLASH;

export function literalToken(character: string): Token {
  const codePoint = character.codePointAt(0)!;
  return { kind: "one", test: (other) => other === codePoint, literal: character };
}

/**
 * The tokens of shell wildcards as Python's `fnmatch` reads them: `*`, `?`, `[…]`, `[!…]`. An unclosed `[` is a
 * literal.
 *
 * @param wild what `*` and `?` match
 */
export function wildcardTokens(pattern: string, wild: CharacterTest): Token[] {
  const characters = [...pattern];
  // Once there is no further "]", looking for it again from every "[" would take quadratic time.
  const lastClose = characters.lastIndexOf("]");
  const tokens: Token[] = [];
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!;
    if (character === "*") {
      if (tokens.at(-1)?.kind !== "many") tokens.push({ kind: "many", test: wild });
    } else if (character === "?") tokens.push({ kind: "one", test: wild });
    else {
      const first = at + (characters[at + 1] === "!" ? 2 : 1);
      // A "]" that comes first is one of the set.
      const from = characters[first] === "]" ? first + 1 : first;
      const end = character === "[" && from <= lastClose ? characters.indexOf("]", from) : -1;
      if (end < 0) tokens.push(literalToken(character));
      else {
        tokens.push({ kind: "one", test: parseSet(characters.slice(at + 1, end)) });
        at = end;
      }
    }
  }
  return tokens;
}

/** The longest literal that every match contains. */
function longestLiteral(tokens: readonly Token[]): string {
  let longest = "";
  let run = "";
  for (const token of tokens) {
    run = token.kind === "one" && token.literal !== undefined ? run + token.literal : "";
    if (run.length > longest.length) longest = run;
  }
  return longest;
}

/**
 * Matches texts by simulating all states of the pattern at once: at most proportional to the product of both lengths,
 * without backtracking.
 */
export class Pattern {
  readonly #tokens: readonly Token[];
  readonly #literal: string;
  /** Whether it ends with a wildcard that matches everything, so that matching can stop early. */
  readonly #open: boolean;
  /** For each state, the running count of characters at which it was last reached. */
  readonly #reached: Float64Array;
  /** The states after the last character (`#size` of them), and a buffer for the next. */
  #places: Uint16Array;
  #room: Uint16Array;
  #size = 0;
  #count = 0;
  #work = 0;

  constructor(tokens: readonly Token[]) {
    // The second half of the states is inside a "folders" token.
    this.#tokens = tokens.flatMap((token): Token[] => (token.kind === "folders" ? [token, token] : [token]));
    this.#literal = longestLiteral(tokens);
    const last = this.#tokens.at(-1);
    this.#open = last?.kind === "many" && last.test === anyCharacter;
    const length = this.#tokens.length + 1;
    this.#reached = new Float64Array(length);
    this.#places = new Uint16Array(length);
    this.#room = new Uint16Array(length);
  }

  /** States visited so far, over all texts. */
  get work(): number {
    return this.#work;
  }

  test(text: string): boolean {
    this.#work++;
    if (!text.includes(this.#literal)) return false;
    const end = this.#open ? this.#tokens.length - 1 : this.#tokens.length;
    this.#begin();
    this.#reach(0);
    for (let at = 0; at < text.length; ) {
      if (this.#open && this.#isReached(end)) return true;
      if (this.#size === 0) return false;
      const codePoint = text.codePointAt(at)!;
      this.#advance(codePoint);
      at += codePoint > 0xffff ? 2 : 1;
    }
    return this.#isReached(end);
  }

  #begin(): void {
    this.#count++;
    this.#size = 0;
  }

  #isReached(place: number): boolean {
    return this.#reached[place] === this.#count;
  }

  /** Advances by one character. */
  #advance(codePoint: number): void {
    const from = this.#places;
    const size = this.#size;
    this.#places = this.#room;
    this.#room = from;
    this.#begin();
    this.#work += size;
    for (let i = 0; i < size; i++) {
      const place = from[i]!;
      const token = this.#tokens[place]!;
      if (token.kind === "folders") {
        const within = this.#isWithin(place) ? place : place + 1;
        this.#reach(within);
        if (within === place && codePoint === SLASH) this.#reach(place + 1);
      } else if (token.test(codePoint)) this.#reach(token.kind === "many" ? place : place + 1);
    }
  }

  #isWithin(place: number): boolean {
    return this.#tokens[place - 1] === this.#tokens[place];
  }

  /** Adds a state and its epsilon closure. */
  #reach(from: number): void {
    for (let place = from; !this.#isReached(place); ) {
      this.#reached[place] = this.#count;
      const token = this.#tokens[place];
      if (token === undefined) return;
      this.#places[this.#size++] = place;
      if (token.kind === "one") return;
      // "many" and "folders" may match nothing.
      place += token.kind === "folders" && !this.#isWithin(place) ? 2 : token.kind === "many" ? 1 : 0;
    }
  }
}
