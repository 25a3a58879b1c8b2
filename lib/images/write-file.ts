import { randomBytes } from "node:crypto";
import type { Stats } from "node:fs";
import { open, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InstructPix2PixError, isError } from "../core/errors.js";

/**
 * Writes a file atomically: to a temporary file in the same folder, which is synced and renamed. The target of a
 * symbolic link is replaced, not the link; a device or a pipe is written directly.
 *
 * @throws `ERR_IO` if the folder does not exist or the file cannot be written; no temporary file is left.
 */
export async function writeFileAtomically(path: string, bytes: Uint8Array): Promise<void> {
  try {
    const target = await realpath(path).catch(() => path);
    const existing = await stat(target).catch(() => undefined);
    if (existing?.isDirectory()) throw new InstructPix2PixError("ERR_IO", `cannot write "${path}": it is a folder`);
    if (existing && !existing.isFile()) await writeFile(target, bytes);
    else await replace(target, bytes, existing);
  } catch (error) {
    if (error instanceof InstructPix2PixError) throw error;
    throw new InstructPix2PixError("ERR_IO", `cannot write "${path}": ${reason(error, path)}`, { cause: error });
  }
}

async function replace(target: string, bytes: Uint8Array, existing: Stats | undefined): Promise<void> {
  const temporary = join(dirname(target), `.${basename(target).slice(0, 100)}.${randomBytes(6).toString("hex")}.tmp`);
  const file = await open(temporary, "wx", existing ? existing.mode & 0o777 : 0o666);
  try {
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function reason(error: unknown, path: string): string {
  const folder = dirname(path);
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return `the folder "${folder}" does not exist`;
    case "ENOTDIR":
      return `"${folder}" is not a folder`;
    case "EACCES":
    case "EPERM":
      return "permission denied";
    case "EROFS":
      return "the file system is read-only";
    case "ENOSPC":
    case "EDQUOT":
      return "the disk is full";
    default:
      return isError(error) ? error.message : String(error);
  }
}
