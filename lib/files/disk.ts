import { mkdir, statfs } from "node:fs/promises";
import { InstructPix2PixError } from "../core/errors.js";

/** Free bytes for ordinary users on the file system of `folder`. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/**
 * Checks the free space on the disk.
 *
 * @param needed bytes.
 * @throws `ERR_IO` naming both sizes, or if the folder cannot be created.
 */
export async function assertDiskSpace(folder: string, needed: number, free = freeBytes): Promise<void> {
  let available: number;
  try {
    await mkdir(folder, { recursive: true });
    available = await free(folder);
  } catch (error) {
    throw new InstructPix2PixError("ERR_IO", `${folder} cannot be used: ${(error as Error).message}`, { cause: error });
  }
  if (available < needed)
    throw new InstructPix2PixError(
      "ERR_IO",
      `not enough room in ${folder}: about ${gigabytes(needed)} are needed and ${gigabytes(available)} are free; make room, or set INSTRUCT_PIX2PIX_CACHE to a folder elsewhere`,
    );
}

/** A size for people, e.g. `1.3 GB`. */
export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
