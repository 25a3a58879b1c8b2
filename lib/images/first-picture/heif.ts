import type { PixelSize } from "./av1-size.js";
import { checkPlaces } from "./heif-places.js";
import { checkTileSizes } from "./heif-tiles.js";
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
 * @throws {@link Refusal} for more boxes, levels, items or references than {@link FILE_LIMITS} allows, for tiles
 *   that together have four times as many pixels as an image may, and for tiles of another size than the file says; a
 *   RangeError for a file that ends before its items.
 */
export function checkHeif(bytes: Buffer, maxPixels: number): void {
  const counts: Counts = {
    fileBytes: bytes.length,
    boxes: 0,
    references: 0,
    sizes: [],
    properties: new Map(),
    types: new Map(),
    tiles: [],
    places: Buffer.alloc(0),
    data: Buffer.alloc(0),
  };
  walk(bytes, 0, counts);
  const sizesOf = (item: number) =>
    (counts.properties.get(item) ?? []).flatMap((property) => counts.sizes[property - 1] ?? []);
  // The decoder decodes each tile as a whole, whatever of it the image shows.
  const area = (item: number) => Math.max(0, ...sizesOf(item).map(({ width, height }) => width * height));
  const pixels = counts.tiles.reduce((sum, item) => sum + area(item), 0);
  checkCount(pixels, 4 * maxPixels, "pixels in its tiles");
  const tiles = new Set(counts.tiles.filter((item) => counts.types.get(item) === "av01"));
  checkTileSizes({ bytes, places: counts.places, data: counts.data, sizesOf }, tiles);
}

interface Counts {
  readonly fileBytes: number;
  boxes: number;
  references: number;
  /** By property, the size that it says. */
  sizes: (PixelSize | undefined)[];
  /** By item, its properties, counted from 1. */
  properties: Map<number, number[]>;
  /** By item, its type. */
  readonly types: Map<number, string>;
  /** Items that others are made of, as often as they are named. */
  tiles: number[];
  /** The content of the boxes that say where items lie, and that hold some of them. */
  places: Buffer;
  data: Buffer;
}

function walk(bytes: Buffer, depth: number, counts: Counts): void {
  checkCount(depth, FILE_LIMITS.boxDepth, "levels of boxes");
  for (let at = 0; at + 8 <= bytes.length; ) {
    checkCount(++counts.boxes, FILE_LIMITS.boxes, "boxes");
    const type = bytes.toString("latin1", at + 4, at + 8);
    const [head, size] = sizeOf(bytes, at);
    if (size < head || at + size > bytes.length) return;
    const content = bytes.subarray(at + head, at + size);
    at += size;
    const own = CONTAINERS.get(type);
    if (type === "ipco") readSizes(content, counts);
    if (type === "ipma") readProperties(content, counts);
    if (type === "iloc") checkPlaces((counts.places = content), counts.fileBytes);
    if (type === "idat") counts.data = content;
    if (own !== undefined) walk(content.subarray(own), depth + 1, counts);
    if (type === "iinf") readItems(content, depth + 1, counts);
    if (type === "dimg") {
      counts.references += content.length / 2;
      checkCount(counts.references, FILE_LIMITS.items * 2, "references between its items");
      readTiles(content, counts);
    }
  }
}

function readSizes(content: Buffer, counts: Counts): void {
  // Which of them counts is the decoder's matter.
  if (counts.sizes.length > 0) throw new Refusal("has two lists of properties");
  for (let at = 0; at + 8 <= content.length; ) {
    const [head, size] = sizeOf(content, at);
    if (size < head || at + size > content.length) return;
    const isSize = content.toString("latin1", at + 4, at + 8) === "ispe" && size >= head + 12;
    const [width, height] = isSize ? [4, 8].map((field) => content.readUInt32BE(at + head + field)) : [];
    counts.sizes.push(width === undefined || height === undefined ? undefined : { width, height });
    at += size;
  }
}

/** Which properties each item has. */
function readProperties(content: Buffer, counts: Counts): void {
  if (content.length < 8) return;
  const [idBytes, wide] = [content[0] === 0 ? 2 : 4, (content[3]! & 1) === 1];
  for (let at = 8; at + idBytes < content.length; ) {
    const item = content.readUIntBE(at, idBytes);
    at += idBytes;
    const found = counts.properties.get(item) ?? [];
    counts.properties.set(item, found);
    for (let left = content[at++]!; left > 0 && at + (wide ? 2 : 1) <= content.length; left--) {
      found.push(wide ? content.readUInt16BE(at) & 0x7fff : content[at]! & 0x7f);
      at += wide ? 2 : 1;
    }
  }
}

/** The items that a derived one is made of. Of 16 or 32 bits each, as the number of them says. */
function readTiles(content: Buffer, counts: Counts): void {
  const wide = content.length >= 6 && 6 + 4 * content.readUInt16BE(4) === content.length;
  const [first, width] = wide ? [6, 4] : [4, 2];
  for (let at = first; at + width <= content.length; at += width) counts.tiles.push(content.readUIntBE(at, width));
}

/** Bytes of a box's header, and of the whole box. */
function sizeOf(bytes: Buffer, at: number): [head: number, size: number] {
  const size = bytes.readUInt32BE(at);
  if (size === 0) return [8, bytes.length - at];
  if (size !== 1) return [8, size];
  return at + 16 <= bytes.length ? [16, Number(bytes.readBigUInt64BE(at + 8))] : [16, 0];
}

/** A list of items: its version, their number, and a box `infe` for each. */
function readItems(content: Buffer, depth: number, counts: Counts): void {
  if (content.length < 8) return;
  const short = content[0] === 0;
  checkCount(short ? content.readUInt16BE(4) : content.readUInt32BE(4), FILE_LIMITS.items, "items");
  const entries = content.subarray(short ? 6 : 8);
  readTypes(entries, counts.types);
  walk(entries, depth, counts);
}

/** The type of each entry, which follows version, flags, number and protection. */
function readTypes(entries: Buffer, types: Map<number, string>): void {
  for (let at = 0; at + 14 <= entries.length; ) {
    const size = entries.readUInt32BE(at);
    if (size < 14 || at + size > entries.length) return;
    const idBytes = entries[at + 8] === 3 ? 4 : 2;
    const offset = at + 12 + idBytes + 2;
    const type = entries.toString("latin1", offset, offset + 4);
    if (DERIVED.has(type)) throw new Refusal(`holds an image of type ${type}, made of others`);
    types.set(entries.readUIntBE(at + 12, Math.min(idBytes, size - 12)), type);
    at += size;
  }
}
