import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type ErrorCode, InstructPix2PixError } from "../core/errors.js";

/** The size limit, and the error code for files that are larger or not UTF-8. */
export interface TextFileOptions {
  maxBytes: number;
  code: ErrorCode;
}

/**
 * Reads a regular file as UTF-8. Anything else (a pipe, a device, a folder) is refused without blocking.
 *
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_IO`, or `options.code`; the message starts with the path
 */
export async function readTextFile(path: string, options: TextFileOptions): Promise<string> {
  let bytes: Buffer;
  try {
    const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
    const file = await open(path, flags);
    try {
      bytes = await readAll(file, path, options);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError(path, error);
  }
  try {
    // A byte order mark is kept, so that the parser refuses it as Python's does.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new InstructPix2PixError(options.code, `${path}: is not valid UTF-8`, { cause });
  }
}

async function readAll(file: FileHandle, path: string, { maxBytes, code }: TextFileOptions): Promise<Buffer> {
  const info = await file.stat();
  if (!info.isFile())
    throw new InstructPix2PixError("ERR_IO", `${path}: is ${info.isDirectory() ? "a folder" : "not a regular file"}`);
  const tooLarge = (size: number | string) =>
    new InstructPix2PixError(code, `${path}: has ${size} bytes, more than the allowed ${maxBytes}`);
  if (info.size > maxBytes) throw tooLarge(info.size);
  // One byte more than expected, to detect a growing file.
  const buffer = Buffer.allocUnsafe(info.size + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
    if (bytesRead === 0) return buffer.subarray(0, length);
    length += bytesRead;
  }
  throw new InstructPix2PixError("ERR_IO", `${path}: grew while it was being read`);
}

/** The typed error for what Node's file functions throw; typed errors pass through. */
export function fileError(path: string, error: unknown): InstructPix2PixError {
  if (error instanceof InstructPix2PixError) return error;
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? "";
  const say = (typed: ErrorCode, what: string) =>
    new InstructPix2PixError(typed, `${String(path).replaceAll("\0", "\\0")}: ${what}`, { cause: error });
  if (code === "ENOENT" || code === "ENOTDIR") return say("ERR_FILE_NOT_FOUND", "no such file or folder");
  if (code.startsWith("ERR_INVALID_ARG")) return say("ERR_INVALID_ARGUMENT", "is not a path");
  if (code === "EACCES" || code === "EPERM") return say("ERR_IO", "permission denied");
  if (code === "ELOOP") return say("ERR_IO", "too many symbolic links");
  if (code === "ENAMETOOLONG") return say("ERR_IO", "the name is too long");
  return say("ERR_IO", `cannot be read (${code || String(error)})`);
}
