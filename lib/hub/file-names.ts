import { toUSVString } from "node:util";
import { InstructPix2PixError } from "../core/errors.js";

// Names that Windows opens as devices, in any folder and with any extension.
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])(?:[ .]|$)/i;

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a file name must not hold
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f<>:"|?*\\]/u;

function segmentProblem(segment: string): string | undefined {
  if (segment === "") return "has an empty part";
  if (segment === "." || segment === "..") return `has a part ${JSON.stringify(segment)}`;
  if (FORBIDDEN.test(segment)) return "holds a character that file names must not";
  if (/[ .]$/.test(segment)) return "has a part that ends in a dot or a space";
  if (DEVICE.test(segment)) return "is a device on Windows";
  if (Buffer.byteLength(segment) > 255) return "has a part of more than 255 bytes";
  return undefined;
}

/**
 * The reason why an untrusted name of a file in a repository is refused; undefined if it is fine. The rules of POSIX
 * and Windows apply everywhere, so that a cache works on both: a relative path of plain parts between forward slashes,
 * which cannot lead out of the folder that it is joined to.
 */
export function fileNameProblem(name: string): string | undefined {
  if (typeof name !== "string" || name === "") return "is empty";
  if (toUSVString(name) !== name) return "is not valid Unicode";
  if (name.length > 1024) return "is longer than 1024 characters";
  if (name.startsWith("/")) return "is an absolute path";
  for (const segment of name.split("/")) {
    const problem = segmentProblem(segment);
    if (problem) return problem;
  }
  return undefined;
}

/** @throws `ERR_HUB` naming the repository and the file */
export function assertFileName(name: string, repository: string): void {
  const problem = fileNameProblem(name);
  if (problem)
    throw new InstructPix2PixError("ERR_HUB", `${repository}: the file name ${JSON.stringify(name)} ${problem}`);
}
