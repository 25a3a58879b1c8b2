interface Node {
  readonly children: Map<number, Node>;
  /** Id of the token that ends here. */
  id: number | undefined;
}

/** One token found in a text. */
export interface Found {
  readonly start: number;
  readonly end: number;
  readonly id: number;
}

const newNode = (): Node => ({ children: new Map(), id: undefined });

/**
 * Finds tokens in a text: leftmost longest, non-overlapping matches. The steps per position are bounded by the longest
 * token's UTF-16 length, independent of the number of tokens.
 */
export class TokenTrie {
  readonly #root = newNode();

  /** @param contents tokens that are not empty, with their ids; the first of duplicates is used */
  constructor(contents: Iterable<readonly [string, number]>) {
    for (const [content, id] of contents) {
      let node = this.#root;
      for (let i = 0; i < content.length; i++) {
        const unit = content.charCodeAt(i);
        let next = node.children.get(unit);
        if (next === undefined) node.children.set(unit, (next = newNode()));
        node = next;
      }
      node.id ??= id;
    }
  }

  *find(text: string): Generator<Found, void, undefined> {
    for (let start = 0; start < text.length; ) {
      const found = this.#longestAt(text, start);
      if (found) yield found;
      start = found?.end ?? start + 1;
    }
  }

  #longestAt(text: string, start: number): Found | undefined {
    let found: Found | undefined;
    let node = this.#root.children.get(text.charCodeAt(start));
    for (let at = start + 1; node !== undefined; at++) {
      if (node.id !== undefined) found = { start, end: at, id: node.id };
      node = at < text.length ? node.children.get(text.charCodeAt(at)) : undefined;
    }
    return found;
  }
}
