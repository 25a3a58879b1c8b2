import type { Dirent } from "node:fs";
import { readdir, readlink, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { warnOnce } from "../warn.js";
import { datasetError, listOf } from "./errors.js";
import { byCodePoints } from "./glob.js";

/** Links to folders followed in one listing; more come of links that multiply each other. */
const MAX_LINKED_FOLDERS = 10_000;

/**
 * Every file below a folder, relative, with forward slashes, sorted. Links to files count as files. Warns of links that
 * lead nowhere or around in a circle.
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
  if (broken.length > 0)
    warnOnce(`${root}: links that lead nowhere, or back to a folder that they are in, are left out: ${listOf(broken)}`);
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
 * Why there is nothing at a path: it is a link that leads nowhere, or there is nothing of that name.
 *
 * @param what what it is to be, with its name
 */
export async function whyMissing(path: string, what: string): Promise<string> {
  const target = await readlink(path).catch(() => undefined);
  if (target === undefined) return `there is no ${what}`;
  const { code } = await stat(path).then(
    () => ({ code: undefined }),
    (error: NodeJS.ErrnoException) => error,
  );
  if (code === undefined) return `${what} is a link to ${target}, which is no regular file`;
  return `${what} is a link to ${target}, which ${code === "ELOOP" ? "leads around in a circle" : "does not exist"}`;
}
