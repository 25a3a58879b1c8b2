import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { posix } from "node:path";
import { quote } from "../core/quote.js";
import { readTextFile } from "../files/text-file.js";
import { DataFolder } from "./data-folder.js";
import type { EditDataset, StoredPicture } from "./dataset.js";
import { datasetError } from "./errors.js";
import { byCodePoints } from "./glob.js";

/** Pairs that are two folders of images. */
export interface PairFolders {
  /** The folder of the images before. */
  before: string;
  /** The folder of the images after, which have the names of those before, whatever their endings. */
  after: string;
  /**
   * Where instructions are: a folder of texts with the names of the images (`lake.txt` for `lake.jpg`), or a file of lines with a
   * name, a tab and the instruction. Default the folder of the images after.
   */
  prompts?: string | undefined;
  /** One instruction for all pairs instead. */
  prompt?: string | undefined;
}

/** An instruction is a line or two. */
const MAX_PROMPT_BYTES = 64 * 1024;
/** A list of instructions. */
const MAX_LIST_BYTES = 256 * 1024 * 1024;
const PICTURE = /\.(?:png|jpe?g|jpe|jfif|webp|gif|tiff?|avif|bmp)$/i;

/**
 * Opens two folders of images as pairs. A row is a name in either; what is missing of it makes it unusable.
 *
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_DATASET` for a folder without images, two images of one name, and a list of instructions that is
 *   malformed; `ERR_IO`
 */
export async function openPairFolders({ before, after, prompts, prompt }: PairFolders): Promise<EditDataset> {
  const [originals, edited] = [await NamedPictures.read(before), await NamedPictures.read(after)];
  const names = [...new Set([...originals.names, ...edited.names])].sort(byCodePoints);
  const promptOf = prompt !== undefined ? async () => prompt : await promptsIn(prompts ?? after);
  const hash = createHash("sha256").update(JSON.stringify([names, prompt ?? null]));
  const picture = (found: NamedPictures, name: string): StoredPicture => {
    const path = found.path(name);
    if (path === undefined) throw datasetError(`there is no image of that name in ${quote(found.folder)}`);
    return { path };
  };
  const fingerprint = hash.digest("hex");
  return {
    length: names.length,
    columns: ["input_image", "edit_prompt", "edited_image"],
    textColumns: [],
    fingerprint,
    stamp: fingerprint,
    async row(index) {
      const name = names[index]!;
      const prompt = await promptOf(name);
      return { original: picture(originals, name), edited: picture(edited, name), prompt, texts: {} };
    },
    describe: (index) => quote(names[index]!),
    close: async () => {},
  };
}

/** The images of a folder by their names without endings. */
class NamedPictures {
  readonly folder: string;
  readonly #paths: ReadonlyMap<string, string>;

  private constructor(folder: string, paths: ReadonlyMap<string, string>) {
    this.folder = folder;
    this.#paths = paths;
  }

  static async read(path: string): Promise<NamedPictures> {
    const folder = await DataFolder.open(path, true);
    const paths = new Map<string, string>();
    for (const file of await folder.list()) {
      if (!PICTURE.test(file)) continue;
      const name = withoutEnding(file);
      const other = paths.get(name);
      if (other !== undefined)
        throw datasetError(`${quote(path)} has two images of one name: ${quote(other)} and ${quote(file)}`);
      paths.set(name, file);
    }
    if (paths.size === 0) throw datasetError(`${quote(path)} holds no images`);
    return new NamedPictures(path, new Map([...paths].map(([name, file]) => [name, folder.absolute(file)])));
  }

  get names(): Iterable<string> {
    return this.#paths.keys();
  }

  path(name: string): string | undefined {
    return this.#paths.get(name);
  }
}

function withoutEnding(file: string): string {
  return file.slice(0, file.length - posix.extname(file).length);
}

async function promptsIn(path: string): Promise<(name: string) => Promise<string | null>> {
  if ((await stat(path).catch(() => undefined))?.isFile()) {
    const listed = await readList(path);
    return async (name) => listed.get(name) ?? null;
  }
  const folder = await DataFolder.open(path, true);
  return async (name) => {
    const file = await folder.file(folder.absolute(`${name}.txt`));
    return file === undefined
      ? null
      : (await readTextFile(file, { maxBytes: MAX_PROMPT_BYTES, code: "ERR_DATASET" })).trim();
  };
}

/** The instructions of a list by the names of the images, with or without endings. */
async function readList(path: string): Promise<Map<string, string>> {
  const listed = new Map<string, string>();
  for (const [i, line] of (await readTextFile(path, { maxBytes: MAX_LIST_BYTES, code: "ERR_DATASET" }))
    .split(/\r?\n/)
    .entries()) {
    if (line.trim() === "") continue;
    const refuse = (what: string) => datasetError(`${quote(path)}, line ${i + 1}: ${what}`);
    const tab = line.indexOf("\t");
    if (tab < 1) throw refuse("a line is a name, a tab and an instruction");
    const file = line.slice(0, tab);
    const name = PICTURE.test(file) ? withoutEnding(file) : file;
    if (listed.has(name)) throw refuse(`${quote(file)} has an instruction already`);
    listed.set(name, line.slice(tab + 1).trim());
  }
  return listed;
}
