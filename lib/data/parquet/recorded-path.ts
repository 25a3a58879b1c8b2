import { posix, sep, win32 } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { isFile } from "../../files/is-file.js";
import type { DataFolder } from "../data-folder.js";
import { datasetError } from "../errors.js";

/**
 * Finds the images that a parquet file names instead of holding them. In the user's own dataset the paths may be
 * absolute, as the `datasets` library writes them. A data set from the hub must not name files of this machine.
 */
export class RecordedPaths {
  readonly #folder: DataFolder;
  /** The last prefix of recorded paths that has moved, and its new location. */
  #moved: { from: string; to: string } | undefined;

  constructor(folder: DataFolder) {
    this.#folder = folder;
  }

  /**
   * The file that a path means: relative to the parquet file or to the dataset's folder, or absolute. An absolute path
   * that no longer exists is searched relative to the parquet file's current location.
   *
   * @param file the parquet file, relative to the dataset's folder
   * @throws `ERR_FILE_NOT_FOUND`, `ERR_DATASET` for a path that leads out of the dataset
   */
  async find(file: string, recorded: string): Promise<string> {
    const found = this.#isAbsolute(recorded)
      ? await this.#absolute(file, recorded)
      : await this.#relative(file, recorded);
    if (found !== undefined) return found;
    throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `the image ${quote(recorded)} does not exist`);
  }

  #isAbsolute(path: string): boolean {
    return posix.isAbsolute(path) || win32.isAbsolute(path);
  }

  async #relative(file: string, recorded: string): Promise<string | undefined> {
    for (const from of [posix.dirname(file), ""]) {
      const path = this.#folder.absolute(this.#folder.locate(from, recorded));
      const found = await this.#folder.file(path);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #absolute(file: string, recorded: string): Promise<string | undefined> {
    if (!this.#folder.own)
      throw datasetError(
        `names the image ${quote(recorded)} on another machine; a dataset on the hub must hold its images`,
      );
    if (await isFile(recorded)) return recorded;
    const portable = recorded.replaceAll("\\", "/");
    if (portable.split("/").includes("..")) return undefined;
    if (this.#moved && portable.startsWith(this.#moved.from)) {
      const moved = this.#moved.to + portable.slice(this.#moved.from.length);
      if (await isFile(moved)) return moved;
    }
    for (const { from, to } of relocations(portable, this.#folder.absolute(file).split(sep).join("/"))) {
      const moved = to + portable.slice(from.length);
      if (!(await isFile(moved))) continue;
      this.#moved = { from, to };
      return moved;
    }
    return undefined;
  }
}

/**
 * Candidate locations of a moved path: where both paths share a folder name. The one nearest to the parquet file comes
 * first.
 */
function* relocations(recorded: string, parquet: string): Generator<{ from: string; to: string }> {
  const there = recorded.split("/").slice(0, -1);
  const here = parquet.split("/").slice(0, -1);
  for (let depth = here.length; depth > 0; depth--) {
    const name = here[depth - 1]!;
    const at = name === "" ? -1 : there.lastIndexOf(name);
    if (at >= 0) yield { from: `${there.slice(0, at + 1).join("/")}/`, to: `${here.slice(0, depth).join("/")}/` };
  }
}
