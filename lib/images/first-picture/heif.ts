import { checkCount, FILE_LIMITS, Refusal } from "./limits.js";

/** Container boxes, with the size of their own fields before the first child. */
const CONTAINERS = new Map<string, number>([
  ["meta", 4],
  ["iprp", 0],
  ["ipco", 0],
  ["iref", 4],
  ["grpl", 0],
  ["dinf", 0],
  ["moov", 0],
  ["trak", 0],
  ["mdia", 0],
  ["minf", 0],
  ["stbl", 0],
  ["edts", 0],
  ["moof", 0],
  ["traf", 0],
]);

/** Derived images, which can multiply the decoder's work; Pillow does not read them either. */
const DERIVED = new Set(["iovl", "iden"]);

/**
 * Checks the limits of an AVIF or HEIC file. Nothing can be removed from one, since it refers to its parts by offsets.
 *
 * @throws {@link Refusal} for more boxes, levels, items or references than {@link FILE_LIMITS} allows.
 */
export function checkHeif(bytes: Buffer): void {
  const counts = { boxes: 0, references: 0 };
  walk(bytes, 0, counts);
}

function walk(bytes: Buffer, depth: number, counts: { boxes: number; references: number }): void {
  checkCount(depth, FILE_LIMITS.boxDepth, "levels of boxes");
  for (let at = 0; at + 8 <= bytes.length; ) {
    checkCount(++counts.boxes, FILE_LIMITS.boxes, "boxes");
    const type = bytes.toString("latin1", at + 4, at + 8);
    const [head, size] = sizeOf(bytes, at);
    if (size < head || at + size > bytes.length) return;
    const content = bytes.subarray(at + head, at + size);
    at += size;
    const own = CONTAINERS.get(type);
    if (own !== undefined) walk(content.subarray(own), depth + 1, counts);
    if (type === "iinf") checkItems(content, depth + 1, counts);
    if (type === "dimg") {
      counts.references += content.length / 2;
      checkCount(counts.references, FILE_LIMITS.items * 2, "references between its items");
    }
  }
}

/** Sizes of a box's header and of the whole box. */
function sizeOf(bytes: Buffer, at: number): [head: number, size: number] {
  const size = bytes.readUInt32BE(at);
  if (size === 0) return [8, bytes.length - at];
  if (size !== 1) return [8, size];
  return at + 16 <= bytes.length ? [16, Number(bytes.readBigUInt64BE(at + 8))] : [16, 0];
}

/** A list of items: its version, their number, and a box `infe` for each. */
function checkItems(content: Buffer, depth: number, counts: { boxes: number; references: number }): void {
  if (content.length < 8) return;
  const short = content[0] === 0;
  checkCount(short ? content.readUInt16BE(4) : content.readUInt32BE(4), FILE_LIMITS.items, "items");
  const entries = content.subarray(short ? 6 : 8);
  for (const type of DERIVED)
    if (isItemType(entries, type)) throw new Refusal(`holds a picture of type ${type}, made of others`);
  walk(entries, depth, counts);
}

/** Whether an entry has this type, which follows version, flags, number and protection. */
function isItemType(entries: Buffer, type: string): boolean {
  for (let at = 0; at + 8 <= entries.length; ) {
    const size = entries.readUInt32BE(at);
    if (size < 8 || at + size > entries.length) return false;
    const version = entries[at + 8];
    const offset = at + 12 + (version === 3 ? 6 : 4);
    if (entries.toString("latin1", offset, offset + 4) === type) return true;
    at += size;
  }
  return false;
}
