import { createRequire } from "node:module";
import type sharp from "sharp";
import { InstructPix2PixError } from "../errors.js";

let loaded: typeof sharp | undefined;

/**
 * The library that reads and writes pictures, loaded at the first call: its native half is an optional dependency as ours
 * is, and where it is missing the rest of this package still tells what is.
 *
 * @throws `ERR_IMAGE` if it cannot be loaded.
 */
export function imageLibrary(): typeof sharp {
  try {
    return (loaded ??= createRequire(import.meta.url)("sharp") as typeof sharp);
  } catch (error) {
    const [reason] = (error as Error).message.split("\n");
    throw new InstructPix2PixError(
      "ERR_IMAGE",
      `pictures can be neither read nor written: ${reason}; run \`npm install --include=optional --os=${process.platform} --cpu=${process.arch}\``,
      { cause: error },
    );
  }
}
