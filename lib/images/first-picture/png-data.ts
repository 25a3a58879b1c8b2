import { createInflate } from "node:zlib";
import { Refusal } from "./limits.js";

/** Compressed bytes that are harmless even at deflate's maximal ratio of 1,032. */
const HARMLESS = 1 << 20;
const CHUNK = 1 << 20;
/** Interlaced images have seven sets of rows, each with a filter byte and padding of its own. */
const SLACK = 1 << 16;

/**
 * Refuses image data that expands to more than the image's size: the decoder would expand all of it, which for 64 MB
 * takes most of a minute. `parts` are pieces of one zlib stream; errors in it are left to the decoder.
 */
export async function checkPngData(header: Buffer, parts: Buffer[]): Promise<void> {
  const total = parts.reduce((sum, { length }) => sum + length, 0);
  if (total <= HARMLESS) return;
  const needed = bytesOfRows(header);
  let expanded = 0;
  const inflate = createInflate({ chunkSize: CHUNK });
  try {
    await new Promise<void>((resolve, reject) => {
      inflate.on("data", ({ length }: Buffer) => {
        expanded += length;
        if (expanded > needed) reject(new Refusal("has more compressed pixels than its size allows"));
      });
      inflate.on("end", resolve);
      inflate.on("error", () => resolve());
      inflate.end(Buffer.concat(parts));
    });
  } finally {
    inflate.destroy();
  }
}

/** Upper bound for the expanded pixels of an IHDR chunk's image, with a filter byte for each row. */
function bytesOfRows(header: Buffer): number {
  const [width, height, depth, color] = [header.readUInt32BE(8), header.readUInt32BE(12), header[16]!, header[17]!];
  const samples = ({ 2: 3, 4: 2, 6: 4 } as Record<number, number>)[color] ?? 1;
  const row = Math.ceil((width * samples * depth) / 8) + 1;
  // Rows of interlaced images are up to 15/8 as many, and each may be padded by a byte.
  return row * height + 3 * height + SLACK;
}
