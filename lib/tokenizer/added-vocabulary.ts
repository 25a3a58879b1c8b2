import { TokenTrie } from "./token-trie.js";

/** A token that is matched in the text itself, before byte-pair encoding. */
export interface AddedToken {
  readonly content: string;
  /** Matches whole words only. */
  readonly singleWord: boolean;
  /** Includes preceding white space. */
  readonly lstrip: boolean;
  /** Includes following white space. */
  readonly rstrip: boolean;
  /** Matched in the normalised text (by its normalised form), not in the original text. */
  readonly normalized: boolean;
  /** Omitted by `decode` with `skipSpecialTokens`, and not matched with `splitSpecialTokens`. */
  readonly special: boolean;
}

/** A piece of text: still to be encoded, or a token found in it. */
export type Piece = { readonly text: string } | { readonly id: number };

const STARTS_WITH_WORD = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]/u;
const ENDS_WITH_WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]$/u;
const SPACE = /\p{White_Space}/u;

function trieOf(contents: readonly (readonly [string, number])[]): TokenTrie | undefined {
  const some = contents.filter(([content]) => content !== "");
  return some.length > 0 ? new TokenTrie(some) : undefined;
}

function touchesWord(text: string, start: number, end: number): boolean {
  // Two code units hold any one character.
  return (
    ENDS_WITH_WORD.test(text.slice(Math.max(0, start - 2), start)) || STARTS_WITH_WORD.test(text.slice(end, end + 2))
  );
}

function startOfSpace(text: string, end: number, least: number): number {
  while (end > least && SPACE.test(text[end - 1]!)) end--;
  return end;
}

/** Finds ends of white space runs. Caches the last one, since many matches may end in the same run. */
class SpaceEnds {
  #from = 0;
  #end = 0;

  of(text: string, from: number): number {
    if (from >= this.#from && from <= this.#end) return this.#end;
    let end = from;
    while (end < text.length && SPACE.test(text[end]!)) end++;
    this.#from = from;
    this.#end = end;
    return end;
  }
}

/** The tokens beside the base vocabulary, and the search for them. Behaves as the `tokenizers` library. */
export class AddedVocabulary {
  readonly #base: ReadonlyMap<string, number>;
  readonly #normalize: (text: string) => string;
  readonly #splitSpecial: boolean;
  readonly #ids = new Map<string, number>();
  readonly #tokens = new Map<number, AddedToken>();
  readonly #special = new Set<string>();
  readonly #normalizedText = new Map<number, string>();
  #nextId: number;
  #asGiven: TokenTrie | undefined;
  #normalized: TokenTrie | undefined;

  /**
   * @param tokens in order of addition; a duplicate replaces the earlier one in place
   * @param base the vocabulary of the byte-pair model: a token found there keeps its id, others are numbered after it
   * @param splitSpecial whether special tokens in the text are ordinary text
   */
  constructor(
    tokens: Iterable<AddedToken>,
    base: ReadonlyMap<string, number>,
    normalize: (text: string) => string,
    splitSpecial: boolean,
  ) {
    this.#base = base;
    this.#normalize = normalize;
    this.#splitSpecial = splitSpecial;
    this.#nextId = base.size;
    for (const token of tokens) this.#add(token);
    const entries = [...this.#tokens];
    this.#asGiven = trieOf(entries.filter(([, token]) => !token.normalized).map(([id, { content }]) => [content, id]));
    this.#normalized = trieOf(
      entries.filter(([, token]) => token.normalized).map(([id]) => [this.#normalizedText.get(id)!, id]),
    );
  }

  #add(token: AddedToken): void {
    if (token.content === "") return;
    const id = this.idOf(token.content) ?? this.#nextId++;
    this.#ids.set(token.content, id);
    this.#tokens.set(id, token);
    // Both are kept when the token is replaced later, as in the library.
    if (token.special) this.#special.add(token.content);
    if (token.normalized) this.#normalizedText.set(id, this.#normalize(token.content));
  }

  /** The id of a token, added or of the base vocabulary. */
  idOf(content: string): number | undefined {
    return this.#ids.get(content) ?? this.#base.get(content);
  }

  /** The text of the added token with this id, for decoding. */
  textOf(id: number): string | undefined {
    return this.#normalizedText.get(id) ?? this.#tokens.get(id)?.content;
  }

  isSpecial(text: string): boolean {
    return this.#special.has(text);
  }

  /** Splits a text into added tokens and the normalised text between them. */
  split(text: string): Piece[] {
    return this.#find(text, this.#asGiven).flatMap((piece) =>
      "id" in piece ? piece : this.#find(this.#normalize(piece.text), this.#normalized),
    );
  }

  #find(text: string, search: TokenTrie | undefined): Piece[] {
    if (text === "") return [];
    if (search === undefined) return [{ text }];
    const pieces: Piece[] = [];
    let done = 0;
    const spaceEnds = new SpaceEnds();
    for (const found of search.find(text)) {
      const { id } = found;
      let { start, end } = found;
      const token = this.#tokens.get(id)!;
      if (this.#splitSpecial && this.#special.has(token.content)) continue;
      if (token.singleWord && touchesWord(text, start, end)) continue;
      if (token.lstrip) start = done > start ? done : startOfSpace(text, start, done);
      if (token.rstrip) end = spaceEnds.of(text, end);
      if (done < start) pieces.push({ text: text.slice(done, start) });
      pieces.push({ id });
      done = end;
    }
    if (done < text.length) pieces.push({ text: text.slice(done) });
    return pieces;
  }
}
