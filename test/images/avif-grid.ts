// AVIF images that are put together of tiles, as cameras write large ones (ISO/IEC 23008-12, 6.6.2.3): no encoder at
// hand makes them.

/** A box of the ISO base media file format. */
function box(type: string, ...content: (Buffer | number[])[]): Buffer {
  const body = Buffer.concat(content.map((part) => Buffer.from(part)));
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length);
  head.write(type, 4, "latin1");
  return Buffer.concat([head, body]);
}

const u16 = (value: number) => [value >> 8, value & 255];
const u32 = (value: number) => [...u16(value >>> 16), ...u16(value & 0xffff)];
const full = (version: number) => [version, 0, 0, 0];

/** The content of the first box of a type, wherever it is. */
function contentOf(bytes: Buffer, type: string): Buffer {
  const at = bytes.indexOf(type, 0, "latin1");
  return bytes.subarray(at + 4, at - 4 + bytes.readUInt32BE(at - 4));
}

export interface Grid {
  columns: number;
  rows: number;
  /** Of the image: what its tiles have beyond it is cut off. */
  width: number;
  height: number;
  tileWidth: number;
  tileHeight: number;
}

/** Puts AVIF images of one size and with one set of settings together, row by row. */
export function avifGrid(tiles: readonly Buffer[], grid: Grid): Buffer {
  const GRID_ITEM = 1;
  const items = tiles.map((_, i) => GRID_ITEM + 1 + i);
  const layout = Buffer.from([0, 0, grid.rows - 1, grid.columns - 1, ...u16(grid.width), ...u16(grid.height)]);
  const data = [layout, ...tiles.map((tile) => contentOf(tile, "mdat"))];
  const size = (width: number, height: number) => box("ispe", full(0), u32(width), u32(height));
  const properties = box(
    "ipco",
    size(grid.width, grid.height),
    box("pixi", full(0), [3, 8, 8, 8]),
    size(grid.tileWidth, grid.tileHeight),
    box("av1C", contentOf(tiles[0]!, "av1C")),
  );
  const ESSENTIAL = 0x80;
  const associations = box(
    "ipma",
    full(0),
    u32(1 + items.length),
    [...u16(GRID_ITEM), 2, 1, 2],
    items.flatMap((item) => [...u16(item), 3, 3, 2, ESSENTIAL | 4]),
  );
  const entry = (item: number, type: string) => box("infe", full(2), u16(item), u16(0), Buffer.from(`${type}\0`));
  const meta = (start: number) => {
    let at = start;
    const places = data.flatMap((part, i) => {
      const place = [...u16(GRID_ITEM + i), ...u16(0), ...u16(1), ...u32(at), ...u32(part.length)];
      at += part.length;
      return place;
    });
    return box(
      "meta",
      full(0),
      box("hdlr", full(0), u32(0), Buffer.from("pict"), u32(0), u32(0), u32(0), [0]),
      box("pitm", full(0), u16(GRID_ITEM)),
      box("iloc", full(0), [0x44, 0], u16(data.length), places),
      box(
        "iinf",
        full(0),
        u16(1 + items.length),
        entry(GRID_ITEM, "grid"),
        ...items.map((item) => entry(item, "av01")),
      ),
      box("iref", full(0), box("dimg", u16(GRID_ITEM), u16(items.length), items.flatMap(u16))),
      box("iprp", properties, associations),
    );
  };
  const brands = box("ftyp", Buffer.from("avif"), u32(0), Buffer.from("avifmif1miafMA1A"));
  const HEAD_OF_DATA = 8;
  const start = brands.length + meta(0).length + HEAD_OF_DATA;
  return Buffer.concat([brands, meta(start), box("mdat", ...data)]);
}
