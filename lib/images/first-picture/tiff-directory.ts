import { checkCount, FILE_LIMITS, Refusal } from "./limits.js";

/** Bytes of a value of each type of TIFF 6.0 and BigTIFF. */
const TYPE_BYTES: Record<number, number> = {
  1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}; // biome-ignore format: a table
const LONG = 4;

interface Entry {
  type: number;
  count: number;
  /** Offset of the values in the file. */
  at: number;
}

/** The first directory of a TIFF, which describes its first image. Changes are made in place. */
export class TiffDirectory {
  readonly #bytes: Buffer;
  readonly #little: boolean;
  readonly #big: boolean;
  readonly #offset: number;
  readonly #entries = new Map<number, Entry>();

  /** Reads the directory. Throws a RangeError where the file ends too early. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#little = bytes[0] === 0x49;
    this.#big = this.#u16(2) === 43;
    this.#offset = this.#big ? this.#u64(8) : this.#u32(4);
    const count = this.#big ? this.#u64(this.#offset) : this.#u16(this.#offset);
    checkCount(count, FILE_LIMITS.tiffTags, "tags");
    for (let i = 0; i < count; i++) this.#read(this.#entryAt(i));
  }

  #read(at: number): void {
    const tag = this.#u16(at);
    const type = this.#u16(at + 2);
    const count = this.#big ? this.#u64(at + 4) : this.#u32(at + 4);
    const size = (TYPE_BYTES[type] ?? 1) * count;
    const field = at + (this.#big ? 12 : 8);
    const inline = this.#big ? 8 : 4;
    const values = size <= inline ? field : this.#big ? this.#u64(field) : this.#u32(field);
    // The first of duplicate tags applies, as in libtiff.
    if (!this.#entries.has(tag)) this.#entries.set(tag, { type, count, at: values });
  }

  /** How many values a tag has; 0 if it is absent. */
  count(tag: number): number {
    return this.#entries.get(tag)?.count ?? 0;
  }

  /** Size in bytes of a tag's values. */
  size(tag: number): number {
    const entry = this.#entries.get(tag);
    return entry ? entry.count * (TYPE_BYTES[entry.type] ?? 1) : 0;
  }

  /** At most `most` values of a tag; empty if it is absent. Throws a RangeError where the file ends too early. */
  values(tag: number, most = 16): number[] {
    const entry = this.#entries.get(tag);
    if (!entry) return [];
    const size = TYPE_BYTES[entry.type] ?? 1;
    return Array.from({ length: Math.min(entry.count, most) }, (_, i) => this.#value(entry.type, entry.at + i * size));
  }

  /** The first value of a tag, or `otherwise`. */
  value(tag: number, otherwise: number): number {
    return this.values(tag, 1)[0] ?? otherwise;
  }

  /** Replaces a tag's values by one integer below 2³². */
  set(tag: number, value: number): void {
    const entry = this.#entries.get(tag);
    if (!entry) throw new Refusal(`is a TIFF image without its tag ${tag}`);
    this.#entries.set(tag, { type: LONG, count: 1, at: -1 - value });
  }

  /** Writes the directory back with only the tags in `kept`, and as the last one. */
  write(kept: ReadonlySet<number>): void {
    const tags = [...this.#entries].filter(([tag]) => kept.has(tag)).sort(([a], [b]) => a - b);
    // Inline values move with their entries, so all are read before any is written.
    const width = this.#big ? 20 : 12;
    const entries = tags.map(([tag, entry]) => this.#encode(tag, entry, width));
    if (this.#big) this.#write(this.#offset, 8, tags.length);
    else this.#write(this.#offset, 2, tags.length);
    entries.forEach((entry, i) => {
      entry.copy(this.#bytes, this.#entryAt(i));
    });
    this.#bytes.fill(0, this.#entryAt(tags.length), this.#entryAt(tags.length) + (this.#big ? 8 : 4));
  }

  #encode(tag: number, { type, count, at }: Entry, width: number): Buffer {
    const entry = Buffer.alloc(width);
    const writer = new TiffWriter(entry, this.#little);
    const inline = this.#big ? 8 : 4;
    writer.put(0, 2, tag);
    writer.put(2, 2, type);
    writer.put(4, inline, count);
    if (at < 0) writer.put(4 + inline, 4, -1 - at);
    else if ((TYPE_BYTES[type] ?? 1) * count <= inline) this.#bytes.copy(entry, 4 + inline, at, at + inline);
    else writer.put(4 + inline, inline, at);
    return entry;
  }

  #write(at: number, size: number, value: number): void {
    new TiffWriter(this.#bytes, this.#little).put(at, size, value);
  }

  #entryAt(index: number): number {
    return this.#offset + (this.#big ? 8 + index * 20 : 2 + index * 12);
  }

  #value(type: number, at: number): number {
    if (at < 0) return -1 - at;
    switch (TYPE_BYTES[type] ?? 1) {
      case 1:
        return this.#bytes.readUInt8(at);
      case 2:
        return this.#u16(at);
      case 4:
        return this.#u32(at);
      default:
        return type === 5 ? this.#u32(at) / this.#u32(at + 4) : this.#u64(at);
    }
  }

  #u16(at: number): number {
    return this.#little ? this.#bytes.readUInt16LE(at) : this.#bytes.readUInt16BE(at);
  }

  #u32(at: number): number {
    return this.#little ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);
  }

  #u64(at: number): number {
    return Number(this.#little ? this.#bytes.readBigUInt64LE(at) : this.#bytes.readBigUInt64BE(at));
  }
}

class TiffWriter {
  constructor(
    readonly bytes: Buffer,
    readonly little: boolean,
  ) {}

  /** Writes a whole number of 2, 4 or 8 bytes. */
  put(at: number, size: number, value: number): void {
    const low = Buffer.alloc(8);
    low.writeBigUInt64LE(BigInt(value));
    const digits = low.subarray(0, size);
    (this.little ? digits : digits.reverse()).copy(this.bytes, at);
  }
}
