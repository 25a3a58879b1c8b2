import { readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { HttpError } from "../errors.js";

/** Names of data sets. */
export const DATASET = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}$/;

/** The folder of a data set. @throws a 400 if there is none of that name */
export async function datasetFolder(trainDir: string | undefined, name: string): Promise<string> {
  if (trainDir === undefined)
    throw new HttpError(400, "ERR_CONFIG", "this server does not train: it has no --train_dir", { param: "type" });
  const path = await realpath(join(trainDir, name)).catch(() => undefined);
  const inside = `${await realpath(trainDir)}${sep}`;
  if (path?.startsWith(inside) && (await stat(path)).isDirectory()) return path;
  throw new HttpError(400, "ERR_INVALID_ARGUMENT", "there is no such data set on this server", { param: "dataset" });
}

/** The names of the data sets that training jobs may use. */
export async function datasetNames(trainDir: string | undefined): Promise<string[]> {
  if (trainDir === undefined) return [];
  const entries = await readdir(trainDir, { withFileTypes: true });
  return entries.filter((each) => each.isDirectory() && DATASET.test(each.name)).map(({ name }) => name);
}
