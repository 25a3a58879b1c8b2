import { InstructPix2PixError } from "../core/errors.js";

/** The error for an unusable image; `problem` continues a sentence that begins with its name. */
export function unreadable(name: string, problem: string, cause?: unknown): InstructPix2PixError {
  return new InstructPix2PixError("ERR_IMAGE", `${name} ${problem}`, cause === undefined ? undefined : { cause });
}
