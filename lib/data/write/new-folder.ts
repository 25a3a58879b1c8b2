import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { errnoOf, ioError } from "../../files/io-error.js";

/**
 * Creates a folder atomically: `fill` writes into a hidden folder beside it, which is renamed at the end, or removed on
 * failure.
 *
 * @param path a folder that is not there yet, or is empty
 * @returns what `fill` resolves to
 * @throws `ERR_IO` if there is something at the path, the folder around it does not exist, or it cannot be written; and
 *   what `fill` throws
 */
export async function makeFolder<T>(path: string, fill: (folder: string) => Promise<T>): Promise<T> {
  const target = resolve(path);
  await checkIsFree(target, path);
  const name = `.${basename(target).slice(0, 100)}.${randomBytes(6).toString("hex")}.tmp`;
  const temporary = join(dirname(target), name);
  await mkdir(temporary).catch((error) => {
    if (errnoOf(error) === "ENOENT") throw cannotWrite(path, `the folder "${dirname(target)}" does not exist`);
    throw ioError("write", path, error);
  });
  try {
    const result = await fill(temporary);
    // The rename replaces an empty folder, but not one that has been filled meanwhile.
    await rmdir(target).catch((error) => {
      if (errnoOf(error) !== "ENOENT") throw error;
    });
    await rename(temporary, target);
    return result;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw ioError("write", path, error);
  }
}

/** @throws `ERR_IO` unless nothing, or an empty folder, is at the path */
export async function checkIsFree(target: string, path: string): Promise<void> {
  const entries = await readdir(target).catch((error) => {
    if (errnoOf(error) === "ENOENT") return [];
    if (errnoOf(error) === "ENOTDIR") throw cannotWrite(path, "it is not a folder");
    throw ioError("read", path, error);
  });
  if (entries.length > 0) throw cannotWrite(path, "the folder is not empty; give another, or remove what it holds");
}

export function cannotWrite(path: string, reason: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_IO", `cannot write "${path}": ${reason}`);
}
