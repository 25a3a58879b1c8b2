import type { Dirent } from "node:fs";
import { readdir, readlink, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { warnOnce } from "../core/warn.js";
import { datasetError, listOf } from "./errors.js";
import { byCodePoints } from "./glob.js";

/** Limit on links to folders followed in one listing; nested links could multiply without bound. */
const MAX_LINKED_FOLDERS = 10_000;

/**
 * Every file below a folder, relative, with forward slashes, sorted. Links to files count as files. Warns of broken and
 * cyclic links.
 *
 * @param follow whether to follow links to folders
 * @throws `ERR_DATASET` for a folder that cannot be read, or more than 10,000 links to folders
 */
export async function listFolder(root: string, follow: boolean): Promise<string[]> {
  const files: string[] = [];
  const broken: string[] = [];
  let linked = 0;
  /** @param above the real paths of the folders on the way here */
  const visit = async (folder: string, above: readonly string[]): Promise<void> => {
    for (const entry of await entriesOf(join(root, folder))) {
      const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isFile()) files.push(name);
      else if (entry.isDirectory()) await visit(name, follow ? [...above, join(above.at(-1)!, entry.name)] : above);
      else if (entry.isSymbolicLink()) {
        const path = join(root, name);
        const target = await stat(path).catch(() => undefined);
        if (target === undefined) broken.push(name);
        else if (target.isFile()) files.push(name);
        else if (target.isDirectory() && follow) {
          const real = await realpath(path);
          if (above.some((folder) => `${folder}${sep}`.startsWith(real.endsWith(sep) ? real : real + sep)))
            broken.push(name);
          else if (++linked > MAX_LINKED_FOLDERS)
            throw datasetError(`${root} has more than ${MAX_LINKED_FOLDERS} links to folders, the last ${path}`);
          else await visit(name, [...above, real]);
        }
      }
    }
  };
  await visit("", [await realpath(root)]);
  if (broken.length > 0) warnOnce(`${root}: broken and cyclic links are ignored: ${listOf(broken)}`);
  return files.sort(byCodePoints);
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    throw datasetError(`${folder} cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
}

/**
 * The reason why a path has no file: a broken link, or nothing of that name.
 *
 * @param what the expected kind of file and its name, for the message
 */
export async function whyMissing(path: string, what: string): Promise<string> {
  const target = await readlink(path).catch(() => undefined);
  if (target === undefined) return `the ${what} does not exist`;
  const { code } = await stat(path).then(
    () => ({ code: undefined }),
    (error: NodeJS.ErrnoException) => error,
  );
  if (code === undefined) return `${what} is a link to ${target}, which is not a regular file`;
  return `${what} is a link to ${target}, which ${code === "ELOOP" ? "is a cyclic link" : "does not exist"}`;
}
