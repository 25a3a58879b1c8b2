import type { FileHandle } from "node:fs/promises";
import { InstructPix2PixError } from "./errors.js";

/**
 * Fills a buffer from a place in a file. One read may give a part only.
 *
 * @throws `ERR_IO` naming the file if it ends before; Node's error if it cannot be read
 */
export async function readFully(file: FileHandle, bytes: Uint8Array, position: number, path: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
    if (bytesRead === 0)
      throw new InstructPix2PixError("ERR_IO", `cannot read "${path}": it ends before byte ${position + bytes.length}`);
    done += bytesRead;
  }
}

/** Writes all of a buffer to a place in a file. One write may take a part only, as on a disk that is nearly full. */
export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
}
