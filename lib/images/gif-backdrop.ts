import { isError } from "../core/errors.js";
import { inSlices } from "./pixels.js";

/** The area outside a GIF's first frame, and the colour that Pillow shows there. */
export interface GifBackdrop {
  /** The frame's rectangle on the screen, in pixels; `right` and `bottom` are exclusive. */
  left: number;
  top: number;
  right: number;
  bottom: number;
  color: [red: number, green: number, blue: number];
}

/**
 * Reads the backdrop of a GIF's first frame: the palette's entry for the transparent index, else entry 0. Undefined if
 * the file ends before the frame begins.
 */
export function gifBackdrop(bytes: Buffer): GifBackdrop | undefined {
  try {
    return parse(bytes);
  } catch (error) {
    if (isError(error) && error.name === "RangeError") return undefined;
    throw error;
  }
}

function parse(bytes: Buffer): GifBackdrop | undefined {
  const HEADER = 13;
  const globalPalette = paletteAt(bytes, HEADER, bytes.readUInt8(10));
  let at = HEADER + globalPalette.length;
  let transparent = 0;
  for (;;) {
    const block = bytes.readUInt8(at);
    if (block === 0x2c) break;
    if (block !== 0x21) return undefined;
    const GRAPHIC_CONTROL = 0xf9;
    if (bytes.readUInt8(at + 1) === GRAPHIC_CONTROL && (bytes.readUInt8(at + 3) & 1) === 1)
      transparent = bytes.readUInt8(at + 6);
    at += 2;
    while (bytes.readUInt8(at) !== 0) at += 1 + bytes.readUInt8(at);
    at += 1;
  }
  const left = bytes.readUInt16LE(at + 1);
  const top = bytes.readUInt16LE(at + 3);
  const own = paletteAt(bytes, at + 10, bytes.readUInt8(at + 9));
  const entry = (own.length > 0 ? own : globalPalette).subarray(transparent * 3, transparent * 3 + 3);
  return {
    left,
    top,
    right: left + bytes.readUInt16LE(at + 5),
    bottom: top + bytes.readUInt16LE(at + 7),
    color: [entry[0] ?? 0, entry[1] ?? 0, entry[2] ?? 0],
  };
}

/** The colour table at `offset` if `flags` declare one, else an empty buffer. */
function paletteAt(bytes: Buffer, offset: number, flags: number): Buffer {
  if ((flags & 0x80) === 0) return bytes.subarray(0, 0);
  return bytes.subarray(offset, offset + (3 << ((flags & 7) + 1)));
}

/** Drops the alpha of a decoded first frame (interleaved RGBA) and shows the backdrop where the frame does not cover. */
export async function coverBackdrop(rgba: Uint8Array, width: number, backdrop: GifBackdrop): Promise<Uint8Array> {
  const { left, top, right, bottom, color } = backdrop;
  const count = rgba.length / 4;
  const rgb = new Uint8Array(count * 3);
  await inSlices(count, (from, to) => {
    for (let i = from; i < to; i++) {
      const x = i % width;
      const y = (i - x) / width;
      const covered = rgba[i * 4 + 3]! > 0 && x >= left && x < right && y >= top && y < bottom;
      for (let c = 0; c < 3; c++) rgb[i * 3 + c] = covered ? rgba[i * 4 + c]! : color[c]!;
    }
  });
  return rgb;
}
