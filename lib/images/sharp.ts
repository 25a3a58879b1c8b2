import { createRequire } from "node:module";
import type sharp from "sharp";
import { InstructPix2PixError } from "../core/errors.js";

let loaded: typeof sharp | undefined;

/**
 * The image library, loaded at the first call: its native part is an optional dependency, and the rest of this package
 * must work, and report the problem, without it.
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
      `images can be neither read nor written: ${reason}; run \`npm install --include=optional --os=${process.platform} --cpu=${process.arch}\``,
      { cause: error },
    );
  }
}
