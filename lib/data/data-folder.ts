import { existsSync } from "node:fs";
import { lstat, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, posix, resolve, sep, win32 } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { datasetError } from "./errors.js";
import { listFolder, whyMissing } from "./links.js";

/** Size and time of a file. */
export interface FileStamp {
  /** Bytes; −1 if the file does not exist. */
  readonly size: number;
  /** Milliseconds since 1970; 0 if the file does not exist. */
  readonly modified: number;
}

const MISSING: FileStamp = { size: -1, modified: 0 };

/**
 * The folder of a dataset. Names in its files must not leave it, neither by `..` nor by an absolute path. Symbolic
 * links may leave it in the user's own folder, since tools for large files create such links, but not in one from the
 * hub. For a snapshot in the Hugging Face cache, whose files are links, the repository's blobs count as inside.
 */
export class DataFolder {
  /** The given path, made absolute. */
  readonly path: string;
  /** Whether it is the user's own folder, whose links may point anywhere on this machine. */
  readonly own: boolean;
  /** The real paths that links may lead to; nothing outside is opened, unless the folder is the user's own. */
  readonly #roots: readonly string[];
  readonly #realFolders = new Map<string, string>();

  private constructor(path: string, own: boolean, roots: readonly string[]) {
    this.path = path;
    this.own = own;
    this.#roots = roots;
  }

  /**
   * @param named whether the user named this folder; a snapshot in the Hugging Face cache is the hub's even then
   * @throws `ERR_FILE_NOT_FOUND` or `ERR_DATASET` if there is no such folder
   */
  static async open(path: string, named: boolean): Promise<DataFolder> {
    const absolute = resolve(path);
    let real: string;
    try {
      real = await realpath(absolute);
      if (!(await stat(real)).isDirectory()) throw datasetError(`${path} is not a folder`);
    } catch (error) {
      if (error instanceof InstructPix2PixError) throw error;
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP")
        throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", await whyMissing(absolute, `folder ${path}`), {
          cause: error,
        });
      throw datasetError(`${path} cannot be read (${code})`, error);
    }
    const snapshots = dirname(real);
    const blobs = join(dirname(snapshots), "blobs");
    const isSnapshot = basename(snapshots) === "snapshots" && existsSync(blobs);
    const roots = isSnapshot ? [real, await realpath(blobs)] : [real];
    return new DataFolder(absolute, named && !isSnapshot, roots);
  }

  /**
   * Every file below the folder, relative, with forward slashes, sorted. Links to files count as files; links to
   * folders are followed in the user's own folder. Warns of broken links.
   *
   * @throws `ERR_DATASET`
   */
  list(): Promise<string[]> {
    return listFolder(this.path, this.own);
  }

  /** The reason why {@link file} finds no image of that name, for messages. */
  whyMissing(name: string): Promise<string> {
    return whyMissing(this.absolute(name), `image ${quote(name)}`);
  }

  /** The absolute path of a file that is named by its path from this folder. */
  absolute(name: string): string {
    return join(this.path, ...name.split("/"));
  }

  /**
   * The path, from this folder on, of what a metadata file names.
   *
   * @param folder the metadata file's folder, relative to this one
   * @throws `ERR_DATASET` for a URL, an absolute path, or one that leads out of this folder
   */
  locate(folder: string, name: string): string {
    const refuse = (why: string) => datasetError(`${quote(name)} ${why}`);
    if (name === "" || name.includes("\0")) throw refuse("is not a path");
    if (name.includes("://")) throw refuse("is a URL; images are named by paths within the dataset's folder");
    const portable = name.replaceAll("\\", "/");
    if (posix.isAbsolute(portable) || win32.isAbsolute(name) || /^[a-z]:/i.test(name))
      throw refuse("is an absolute path; images are named by paths relative to the metadata");
    const path = posix.normalize(posix.join(folder, portable));
    if (path === ".." || path.startsWith("../")) throw refuse("leads out of the dataset's folder");
    return path;
  }

  /**
   * Follows all links of a path.
   *
   * @returns undefined if there is nothing
   * @throws `ERR_DATASET` if a link leads out of a folder that is not the user's own
   */
  async follow(path: string): Promise<string | undefined> {
    let real: string;
    try {
      real = await realpath(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP") return undefined;
      throw datasetError(`${path} cannot be read (${code})`, error);
    }
    this.#checkInside(path, real);
    return real;
  }

  /**
   * Where a regular file really is, all links followed.
   *
   * @returns undefined if there is none
   * @throws `ERR_DATASET` if a link leads out of a folder that is not the user's own
   */
  async file(path: string): Promise<string | undefined> {
    const real = await this.follow(path);
    // Reading a pipe or a device could block forever.
    return real !== undefined && (await stat(real).catch(() => undefined))?.isFile() ? real : undefined;
  }

  /**
   * Size and time of a file, after the same check as {@link follow}, but with few system calls where many files are in
   * few folders.
   */
  async stamp(path: string): Promise<FileStamp> {
    const folder = dirname(path);
    let realFolder = this.#realFolders.get(folder);
    if (realFolder === undefined) {
      realFolder = await this.follow(folder);
      if (realFolder === undefined) return MISSING;
      this.#realFolders.set(folder, realFolder);
    }
    let info = await lstat(join(realFolder, basename(path))).catch(() => undefined);
    if (info?.isSymbolicLink()) {
      const real = await this.follow(path);
      info = real === undefined ? undefined : await stat(real).catch(() => undefined);
    }
    return info?.isFile() ? { size: info.size, modified: info.mtimeMs } : MISSING;
  }

  #checkInside(path: string, real: string): void {
    if (
      this.own ||
      this.#roots.some((root) => real === root || real.startsWith(root.endsWith(sep) ? root : root + sep))
    )
      return;
    throw datasetError(
      `${path} is a link that leads out of the dataset's folder, to ${real}, which is not allowed in a data set from the hub`,
    );
  }
}
