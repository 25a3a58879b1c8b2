interface Node {
  readonly children: Map<number, Node>;
  /** Of the token that ends here. */
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
 * Finds tokens in a text: leftmost match, the longest among those, none over another. A place of the text takes at most
 * as many steps as the longest token has UTF-16 units, however many tokens there are.
 */
export class TokenTrie {
  readonly #root = newNode();

  /** @param contents tokens that are not empty, with their ids; of equal ones the first counts */
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
