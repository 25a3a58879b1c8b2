import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import type { FileSystem } from "./file-system.js";
import { errnoOf } from "./io-error.js";

export interface Tree {
  /** Relative to the root, with `/` between their parts, in the order of their UTF-16 units. */
  readonly files: string[];
  /** Likewise; every folder follows its subfolders, and the root, `""`, is last. */
  readonly folders: string[];
}

/**
 * All files and folders below a folder, which may be a link itself.
 *
 * @throws `ERR_CHECKPOINT` for anything that is neither, such as a link; Node's error where a folder cannot be read
 */
export async function readTree(fs: FileSystem, root: string): Promise<Tree> {
  const files: string[] = [];
  const folders: string[] = [];
  const visit = async (folder: string): Promise<void> => {
    for (const { name, kind } of await fs.readdir(join(root, folder))) {
      const path = folder ? `${folder}/${name}` : name;
      if (kind === "folder") await visit(path);
      else if (kind === "file") files.push(path);
      else throw new InstructPix2PixError("ERR_CHECKPOINT", `${join(root, path)}: is not a regular file`);
    }
    folders.push(folder);
  };
  await visit("");
  return { files: files.sort(), folders };
}

/** Whether the path exists. */
export async function exists(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.lstat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

/** Removes a folder recursively, if it exists; links are removed, not followed. */
export async function removeTree(fs: FileSystem, path: string): Promise<void> {
  let kind: string;
  try {
    ({ kind } = await fs.lstat(path));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return;
    throw error;
  }
  if (kind !== "folder") return fs.unlink(path);
  for (const entry of await fs.readdir(path)) {
    const inside = join(path, entry.name);
    await (entry.kind === "folder" ? removeTree(fs, inside) : fs.unlink(inside));
  }
  await fs.rmdir(path);
}

/** Syncs a file, or the entries of a folder, to the disk. */
export async function syncPath(fs: FileSystem, path: string, kind: "file" | "folder"): Promise<void> {
  // Windows cannot sync folders, and files only through a writable handle.
  const onWindows = process.platform === "win32";
  if (kind === "folder" && onWindows) return;
  const file = await fs.open(path, onWindows ? "r+" : "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Writes a file that must not exist yet; with `sync`, waits until its content is on the disk. */
export async function writeText(fs: FileSystem, path: string, text: string, { sync = false } = {}): Promise<void> {
  const file = await fs.open(path, "wx");
  try {
    for (let rest: Uint8Array = Buffer.from(text); rest.length > 0; ) rest = rest.subarray(await file.write(rest));
    if (sync) await file.sync();
  } finally {
    await file.close();
  }
}

/** Small files are read in parts: most have some kilobytes of the megabytes that they may have. */
const PART_BYTES = 16_384;

/** Reads a small file of at most `maxBytes` bytes; undefined if it has more. */
export async function readSmallFile(fs: FileSystem, path: string, maxBytes: number): Promise<Buffer | undefined> {
  const file = await fs.open(path, "r");
  try {
    const parts: Buffer[] = [];
    for (let length = 0; length <= maxBytes; ) {
      const part = Buffer.allocUnsafe(Math.min(PART_BYTES, maxBytes + 1 - length));
      const read = await file.read(part);
      if (read === 0) return Buffer.concat(parts);
      parts.push(part.subarray(0, read));
      length += read;
    }
    return undefined;
  } finally {
    await file.close();
  }
}
