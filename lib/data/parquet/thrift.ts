/** A number of 64 bits, seven in a byte. The reader would take any, in time that grows with the square of its length. */
const LONGEST_NUMBER = 10;
const MAX_DEPTH = 64;

const TYPE = { stop: 0, true: 1, false: 2, byte: 3, i16: 4, i32: 5, i64: 6, double: 7, binary: 8, list: 9, struct: 12 };

/** What the reader must not be given. */
class Refused extends Error {}

/**
 * Goes over a structure in Thrift's compact protocol before the reader does, for numbers of more than 64 bits.
 *
 * @throws an Error for such a number, and nesting deeper than 64; what else is wrong is left to the reader
 */
export function checkThrift(bytes: DataView): void {
  attempt(() => new Walker(bytes).struct(0));
}

/**
 * The same for the heads of the pages of a column's chunk, which lie one after the other with their pages between.
 *
 * @param footer bytes before compression, and values, of all its pages together according to the footer
 * @throws an Error for pages that claim more, which the reader would allocate
 */
export function checkPageHeads(bytes: DataView, footer: { bytes: number; values: number }): void {
  attempt(() => {
    const walker = new Walker(bytes);
    const claimed = { bytes: 0, values: 0 };
    while (walker.at < bytes.byteLength - 1) {
      const head = walker.struct(0);
      claimed.bytes += Math.max(0, wholeNumber(head.get(HEAD.uncompressedSize)) ?? 0);
      for (const field of [HEAD.dataPage, HEAD.dataPageV2]) {
        const page = head.get(field);
        if (page instanceof Map) claimed.values += Math.max(0, wholeNumber(page.get(HEAD.valuesOfPage)) ?? 0);
      }
      for (const what of ["bytes", "values"] as const)
        if (claimed[what] > footer[what])
          throw new Refused(`the pages of a column claim ${claimed[what]} ${what}, its footer ${footer[what]}`);
      const size = wholeNumber(head.get(HEAD.compressedSize)) ?? -1;
      if (size < 0) return;
      walker.at += size;
    }
  });
}

/** The fields of a page's head that matter here. */
const HEAD = { uncompressedSize: 2, compressedSize: 3, dataPage: 5, dataPageV2: 8, valuesOfPage: 1 };

function wholeNumber(value: number | Fields | undefined): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function attempt(walk: () => void): void {
  try {
    walk();
  } catch (error) {
    if (error instanceof Refused) throw error;
  }
}

/** The whole numbers and structures of a structure, by their fields. */
type Fields = Map<number, number | Fields>;

class Walker {
  at = 0;
  readonly #bytes: DataView;

  constructor(bytes: DataView) {
    this.#bytes = bytes;
  }

  /** Goes over a structure. */
  struct(depth: number): Fields {
    if (depth > MAX_DEPTH) throw new Refused(`its metadata are nested more than ${MAX_DEPTH} deep`);
    const fields: Fields = new Map();
    for (let field = 0; ; ) {
      const head = this.#bytes.getUint8(this.at++);
      const type = head & 15;
      if (type === TYPE.stop) return fields;
      const step = head >> 4;
      field = step > 0 ? field + step : zigzag(this.#number());
      if (type === TYPE.i16 || type === TYPE.i32 || type === TYPE.i64) fields.set(field, zigzag(this.#number()));
      else if (type === TYPE.struct) fields.set(field, this.struct(depth + 1));
      else if (type !== TYPE.true && type !== TYPE.false) this.#value(type, depth);
    }
  }

  #value(type: number, depth: number): void {
    switch (type) {
      case TYPE.true:
      case TYPE.false:
      case TYPE.byte:
        this.at++;
        break;
      case TYPE.i16:
      case TYPE.i32:
      case TYPE.i64:
        this.#number();
        break;
      case TYPE.double:
        this.at += 8;
        break;
      case TYPE.binary:
        this.at += this.#number();
        break;
      case TYPE.list:
        this.#list(depth + 1);
        break;
      case TYPE.struct:
        this.struct(depth + 1);
        break;
      default:
        throw new Error(`there is no type ${type}`);
    }
  }

  #list(depth: number): void {
    if (depth > MAX_DEPTH) throw new Refused(`its metadata are nested more than ${MAX_DEPTH} deep`);
    const head = this.#bytes.getUint8(this.at++);
    const size = head >> 4 === 15 ? this.#number() : head >> 4;
    for (let i = 0; i < size; i++) {
      if (this.at >= this.#bytes.byteLength) throw new Error("a list ends too early");
      this.#value(head & 15, depth);
    }
  }

  /** The lower 32 bits of a number, as the reader takes them. */
  #number(): number {
    let value = 0;
    for (let i = 0; i < LONGEST_NUMBER; i++) {
      const byte = this.#bytes.getUint8(this.at++);
      value |= (byte & 127) << (7 * i);
      if (byte < 128) return value;
    }
    throw new Refused("it holds a number of more than 64 bits");
  }
}

function zigzag(number: number): number {
  return (number >>> 1) ^ -(number & 1);
}
