import { lstat, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { MODEL_INDEX } from "../components/model-index.js";
import { InstructPix2PixError } from "../core/errors.js";
import { errnoOf, ioError } from "../files/io-error.js";
import { MODEL_CARD } from "./recipes/edit/save-model.js";
import { VALIDATION_FOLDER } from "./recipes/edit/validate.js";

/** What a component's folder has files of. */
const FILE = /\.(?:json|txt|safetensors)$/;
const VALIDATION_OF_STEP = /^step-\d+$/;

/**
 * Refuses an output folder in which something else has the name of a folder or file that the run will write, so that
 * this does not come out at its end. Checkpoints need no such check: whatever has the name of one is renamed.
 *
 * @param folders of the pipeline's components
 * @throws `ERR_IO` naming the path
 */
export async function checkPlaces(
  outputDir: string,
  { folders, validates }: { folders: readonly string[]; validates: boolean },
): Promise<void> {
  for (const name of [MODEL_INDEX, MODEL_CARD]) await expectNoFolder(join(outputDir, name));
  for (const component of folders)
    for (const name of await entriesOf(join(outputDir, component)))
      if (FILE.test(name)) await expectNoFolder(join(outputDir, component, name));
  if (!validates) return;
  const folder = join(outputDir, VALIDATION_FOLDER);
  for (const name of await entriesOf(folder)) if (VALIDATION_OF_STEP.test(name)) await entriesOf(join(folder, name));
}

/** The names in a folder, which a link may lead to; none if nothing has its name. */
async function entriesOf(path: string): Promise<string[]> {
  try {
    // A folder cannot be made where a link leads nowhere.
    if (!(await lstat(path)).isDirectory() && !(await stat(path).catch(() => undefined))?.isDirectory())
      throw inTheWay(path, "a folder");
    return await readdir(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw ioError("write to", path, error);
  }
}

/** Files and links are replaced. */
async function expectNoFolder(path: string): Promise<void> {
  try {
    if ((await lstat(path)).isDirectory()) throw inTheWay(path, "a file");
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw ioError("write", path, error);
  }
}

function inTheWay(path: string, what: string): InstructPix2PixError {
  return new InstructPix2PixError(
    "ERR_IO",
    `cannot write "${path}": the run will need ${what} of this name, and something else has it; rename or remove that, or choose another output folder`,
  );
}
