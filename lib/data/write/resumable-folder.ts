import { mkdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { errnoOf, ioError } from "../../files/io-error.js";
import { withLock } from "../../files/lock.js";
import type { EditRow, EditWriter } from "./edit-writer.js";
import type { DatasetFormat } from "./formats.js";
import { ImageFolderWriter, readRows } from "./image-folder-writer.js";
import { cannotWrite, checkIsFree } from "./new-folder.js";
import { ParquetEditWriter } from "./parquet-writer.js";

const SETTINGS = "settings.json";
const ROWS = "rows";
const PARQUET = "parquet";

export interface ResumableOptions {
  format: DatasetFormat;
  /** Rows of the whole data set. */
  count: number;
  /** What the rows depend on, as JSON: rows of other settings are not continued. */
  settings: Readonly<Record<string, unknown>>;
  /** Called with the number of rows that an interrupted run has left, if there are any. */
  onResume?: ((rows: number) => void) | undefined;
}

/**
 * Writes a data set that takes long: rows go into a hidden folder beside the output, `.NAME.partial`, which stays when the work
 * is interrupted in any way. The next call with the same settings goes on after the last whole row. The output appears, by a
 * rename, when everything is written.
 *
 * @param rows yields the rows from a number on
 * @throws `ERR_IO` if the output is not free, its parent folder does not exist, or an interrupted run with other settings is
 *   in the way; `ERR_IN_USE` if another process writes it; and what `rows` throws
 */
export async function writeResumably(
  path: string,
  { format, count, settings, onResume }: ResumableOptions,
  rows: (from: number) => AsyncIterable<EditRow>,
): Promise<void> {
  const target = resolve(path);
  await checkIsFree(target, path);
  const partial = join(dirname(target), `.${basename(target).slice(0, 100)}.partial`);
  try {
    await mkdir(partial).catch((error) => {
      if (errnoOf(error) === "ENOENT") throw cannotWrite(path, `the folder "${dirname(target)}" does not exist`);
      if (errnoOf(error) !== "EEXIST") throw error;
    });
    const onWait = (holder: string) => {
      throw new InstructPix2PixError("ERR_IN_USE", `"${path}" is being written by ${holder}`);
    };
    await withLock(`${partial}.lock`, { onWait }, async () => {
      await checkSettings(partial, path, JSON.stringify({ ...settings, count, format }));
      await fill(partial, { count, onResume }, rows);
      const finished = format === "parquet" ? await toParquet(partial) : join(partial, ROWS);
      // The rename replaces an empty folder, but not one that has been filled meanwhile.
      await rmdir(target).catch((error) => {
        if (errnoOf(error) !== "ENOENT") throw error;
      });
      await rename(finished, target);
      await rm(partial, { recursive: true, force: true });
    });
  } catch (error) {
    throw ioError("write", path, error);
  }
}

async function checkSettings(partial: string, path: string, settings: string): Promise<void> {
  const file = join(partial, SETTINGS);
  const before = await readFile(file, "utf8").catch((error) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (before === undefined || before === "") await writeFile(file, settings);
  else if (before !== settings)
    throw cannotWrite(
      path,
      `an interrupted run with other options or photographs is in "${partial}"; give the same again to go on with it, or remove it`,
    );
}

async function fill(
  partial: string,
  { count, onResume }: Pick<ResumableOptions, "count" | "onResume">,
  rows: (from: number) => AsyncIterable<EditRow>,
): Promise<void> {
  const folder = join(partial, ROWS);
  await mkdir(folder, { recursive: true });
  await using writer = await ImageFolderWriter.resume(folder);
  if (writer.rows > 0) onResume?.(writer.rows);
  if (writer.rows >= count) return;
  try {
    for await (const row of rows(writer.rows)) await writer.write(row);
  } catch (error) {
    // There is nothing to go on after.
    if (writer.rows === 0) await rm(partial, { recursive: true, force: true });
    throw error;
  } finally {
    // Also what an interrupted run has written counts.
    if (writer.rows > 0) await writer.finish();
  }
}

/** The rows in parquet files, which are written anew, since they cannot be continued. */
async function toParquet(partial: string): Promise<string> {
  const folder = join(partial, PARQUET);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  await using writer: EditWriter = await ParquetEditWriter.create(folder);
  for await (const row of readRows(join(partial, ROWS))) await writer.write(row);
  await writer.finish();
  return folder;
}
