import { join } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError } from "../../core/errors.js";
import { disk, type FileSystem, type FolderEntry } from "../../files/file-system.js";
import { errnoOf, ioError } from "../../files/io-error.js";
import { readSmallFile } from "../../files/tree.js";
import { type Manifest, parseManifest } from "./manifest.js";
import { MANIFEST, stepOf } from "./names.js";

/** A folder with a checkpoint's name; not validated yet. */
export interface FoundCheckpoint {
  /** Optimizer steps done. */
  readonly step: number;
  readonly path: string;
}

/** Such a folder with its origin according to its manifest; the files are not verified. */
export type SurveyedCheckpoint = FoundCheckpoint &
  (
    | { readonly kind: "ours"; readonly manifest: Manifest }
    /** Written by accelerate, which diffusers' scripts use. */
    | { readonly kind: "diffusers" }
    /** Without a readable manifest: damaged, or of unknown origin. */
    | { readonly kind: "unknown" }
  );

/** Real manifests have a few kilobytes. */
const MAX_MANIFEST_BYTES = 16 << 20;

/** Files of accelerate's `save_state`; any of them identifies the origin. */
const ACCELERATE_FILES = /^(optimizer(_\d+)?\.bin|scheduler(_\d+)?\.bin|random_states_\d+\.pkl|scaler\.pt)$/;

/**
 * The folders named `checkpoint-<step>`, lowest step first; none if `outputDir` does not exist. Links and files of such
 * a name are not checkpoints.
 *
 * @throws `ERR_IO` if the folder cannot be read
 */
export async function findCheckpoints(outputDir: string, fs: FileSystem = disk): Promise<FoundCheckpoint[]> {
  const found: FoundCheckpoint[] = [];
  for (const { name, kind } of await entriesOf(outputDir, fs)) {
    const step = stepOf(name);
    if (step !== undefined && kind === "folder") found.push({ step, path: join(outputDir, name) });
  }
  return found.sort((a, b) => a.step - b.step);
}

/**
 * {@link findCheckpoints} with origins.
 *
 * @throws `ERR_IO` if a folder or a manifest cannot be read
 */
export async function surveyCheckpoints(outputDir: string, fs: FileSystem = disk): Promise<SurveyedCheckpoint[]> {
  const surveyed: SurveyedCheckpoint[] = [];
  for (const found of await findCheckpoints(outputDir, fs)) surveyed.push(await surveyCheckpoint(found, fs));
  return surveyed;
}

/** The origin of a checkpoint. @throws `ERR_IO` if it cannot be read */
export async function surveyCheckpoint(found: FoundCheckpoint, fs: FileSystem = disk): Promise<SurveyedCheckpoint> {
  try {
    const names = (await fs.readdir(found.path)).map(({ name }) => name);
    if (names.includes(MANIFEST)) return { ...found, kind: "ours", manifest: await readManifest(found.path, fs) };
    return { ...found, kind: names.some((name) => ACCELERATE_FILES.test(name)) ? "diffusers" : "unknown" };
  } catch (error) {
    // An unreadable disk block is damage, like a wrong hash.
    if (isInstructPix2PixError(error, "ERR_CHECKPOINT") || errnoOf(error) === "EIO")
      return { ...found, kind: "unknown" };
    throw ioError("read", found.path, error);
  }
}

/** @throws `ERR_CHECKPOINT` for one that is malformed or too large; Node's error if it cannot be read */
export async function readManifest(folder: string, fs: FileSystem): Promise<Manifest> {
  const path = join(folder, MANIFEST);
  if ((await fs.lstat(path)).kind !== "file")
    throw new InstructPix2PixError("ERR_CHECKPOINT", `${path}: is not a regular file`);
  const bytes = await readSmallFile(fs, path, MAX_MANIFEST_BYTES);
  if (!bytes)
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${folder}: ${MANIFEST} has more than ${MAX_MANIFEST_BYTES} bytes`,
    );
  return parseManifest(bytes, path);
}

/** The entries of an output folder; empty if it does not exist. @throws `ERR_IO` */
export async function entriesOf(outputDir: string, fs: FileSystem): Promise<FolderEntry[]> {
  try {
    return await fs.readdir(outputDir);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    if (errnoOf(error) === "ENOTDIR")
      throw new InstructPix2PixError("ERR_IO", `cannot read "${outputDir}": it is not a folder`, { cause: error });
    throw ioError("read", outputDir, error);
  }
}
