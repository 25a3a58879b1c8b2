import type { FileHandle } from "node:fs/promises";
import { InstructPix2PixError } from "../core/errors.js";

/**
 * Fills a buffer from an offset in a file; single reads may be partial.
 *
 * @throws `ERR_IO` naming the file if it is too short; Node's error if it cannot be read
 */
export async function readFully(file: FileHandle, bytes: Uint8Array, position: number, path: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
    if (bytesRead === 0)
      throw new InstructPix2PixError("ERR_IO", `cannot read "${path}": it ends before byte ${position + bytes.length}`);
    done += bytesRead;
  }
}

/** Writes a whole buffer at an offset in a file; single writes may be partial, as on a nearly full disk. */
export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
}
