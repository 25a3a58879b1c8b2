import { InstructPix2PixError } from "../core/errors.js";

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file would exceed the size limit",
  EIO: "the disk reported an error (EIO)",
  ENOENT: "it does not exist",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "a folder has the name of a file",
  EEXIST: "something else has its name",
  ELOOP: "links lead around in a circle",
  EMFILE: "too many files are open",
  ENFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
};

/**
 * The code of an error of Node's file functions, or of a system call; undefined for any other error. What Node.js finds out
 * itself, as that `rm` was given a folder (`ERR_FS_EISDIR`), has the code of the system call that it spared.
 */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === "string" ? /^(?:ERR_FS_)?(E[A-Z0-9]+)$/.exec(code)?.[1] : undefined;
}

/**
 * `ERR_IO` for a failed system call, `cannot <doing> "<path>": <why>`; any other error, typed ones included, is
 * returned unchanged.
 */
export function ioError(doing: string, path: string, error: unknown): unknown {
  const code = errnoOf(error);
  if (code === undefined) return error;
  const reason = REASONS[code] ?? (error as Error).message.split("\n", 1)[0];
  return new InstructPix2PixError("ERR_IO", `cannot ${doing} "${path}": ${reason}`, { cause: error });
}
