import { AROUND, isAlike, type Looks, placeOf } from "./looks.js";

/** What duplicates are found by. */
export interface SeenPair {
  readonly row: number;
  /** Hashes of the two files and of the instruction. */
  readonly content: string;
  readonly original: Looks;
  readonly edited: Looks;
}

/** Rows at one place that a row is compared with: the last ones. More are there only where images are much alike. */
const COMPARED = 256;

/** Groups rows that are the same, and rows whose images can hardly be told apart. */
export class Duplicates {
  readonly #contents = new Map<string, number>();
  /** The first rows of what looks alike, by the places of their originals. */
  readonly #places = new Map<number, SeenPair[]>();
  /** The rows that repeat a first one. */
  readonly exact = new Map<number, number[]>();
  readonly near = new Map<number, number[]>();

  add(pair: SeenPair): void {
    const same = this.#contents.get(pair.content);
    if (same !== undefined) {
      push(this.exact, same, pair.row);
      return;
    }
    this.#contents.set(pair.content, pair.row);
    const place = placeOf(pair.original);
    const like = this.#firstLike(pair, place);
    if (like !== undefined) push(this.near, like, pair.row);
    else push(this.#places, place, pair);
  }

  #firstLike(pair: SeenPair, place: number): number | undefined {
    for (const by of AROUND)
      for (const other of this.#places.get(place + by)?.slice(-COMPARED) ?? [])
        if (isAlike(pair.edited, other.edited) && isAlike(pair.original, other.original)) return other.row;
    return undefined;
  }
}

function push<K, V>(groups: Map<K, V[]>, key: K, value: V): void {
  const group = groups.get(key);
  if (group) group.push(value);
  else groups.set(key, [value]);
}
