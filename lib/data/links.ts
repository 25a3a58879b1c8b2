import type { Dirent } from "node:fs";
import { readdir, readlink, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { warnOnce } from "../core/warn.js";
import { datasetError, listOf } from "./errors.js";
import { byCodePoints } from "./glob.js";

/** Limit on links to folders followed in one listing; nested links could multiply without bound. */
const MAX_LINKED_FOLDERS = 10_000;
/** Limit on files that are listed again because several links lead to their folder. */
const MAX_REPEATED_FILES = 1_000_000;
/** Links whose targets are looked up at the same time. */
const LINKS_AT_ONCE = 64;

/**
 * Every file below a folder, relative, with forward slashes, sorted. Links to files count as files. Warns of broken and
 * cyclic links.
 *
 * @param follow whether to follow links to folders
 * @throws `ERR_DATASET` for a folder that cannot be read, more than 10,000 links to folders, or more than a million
 *   files listed again through them
 */
export async function listFolder(root: string, follow: boolean): Promise<string[]> {
  const files: string[] = [];
  const broken: string[] = [];
  let linked = 0;
  let repeated = 0;
  /** Real paths. */
  const visited = new Set<string>();
  /** @param above the real paths of the folders on the way here */
  const visit = async (folder: string, above: readonly string[]): Promise<void> => {
    const real = above.at(-1)!;
    const isRepeated = visited.has(real);
    if (follow) visited.add(real);
    const add = (file: string) => {
      if (isRepeated && ++repeated > MAX_REPEATED_FILES)
        throw datasetError(
          `${root}: links to folders list more than ${MAX_REPEATED_FILES} files again, the last in ${join(root, folder)}`,
        );
      files.push(file);
    };
    const links: string[] = [];
    for (const entry of await entriesOf(join(root, folder))) {
      const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isFile()) add(name);
      else if (entry.isDirectory()) await visit(name, follow ? [...above, join(real, entry.name)] : above);
      else if (entry.isSymbolicLink()) links.push(name);
    }
    for (let first = 0; first < links.length; first += LINKS_AT_ONCE) {
      const names = links.slice(first, first + LINKS_AT_ONCE);
      const targets = await Promise.all(names.map((name) => stat(join(root, name)).catch(() => undefined)));
      for (const [i, target] of targets.entries()) {
        const name = names[i]!;
        if (target === undefined) broken.push(name);
        else if (target.isFile()) add(name);
        else if (target.isDirectory() && follow) await visitLink(name, above);
      }
    }
  };
  const visitLink = async (name: string, above: readonly string[]): Promise<void> => {
    const path = join(root, name);
    const real = await realpath(path);
    if (above.some((folder) => `${folder}${sep}`.startsWith(real.endsWith(sep) ? real : real + sep))) broken.push(name);
    else if (++linked > MAX_LINKED_FOLDERS)
      throw datasetError(`${root} has more than ${MAX_LINKED_FOLDERS} links to folders, the last ${path}`);
    else await visit(name, [...above, real]);
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
