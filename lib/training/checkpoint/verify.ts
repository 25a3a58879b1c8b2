import { basename, join } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { disk, type FileSystem } from "../../files/file-system.js";
import { errnoOf, ioError } from "../../files/io-error.js";
import { readTree } from "../../files/tree.js";
import type { Manifest } from "./manifest.js";
import { isSystemFile, MANIFEST, stepOf } from "./names.js";
import { readManifest } from "./survey.js";

export interface VerifyOptions {
  signal?: AbortSignal;
  /** The expected step; by default the one in the folder's name, if that is a checkpoint's. */
  step?: number;
  fs?: FileSystem;
}

/**
 * Verifies a checkpoint against its manifest: exactly the listed files, with matching sizes and SHA-256. Unlisted files
 * are refused, since a loader might read them as part of a model; only files of operating systems (dot files such as
 * `.DS_Store`, `Thumbs.db`, `desktop.ini`) are ignored. Only files found by listing the folder are opened, never a name
 * from the manifest.
 *
 * @param folder a checkpoint; may be a link to one, but nothing in it may be a link
 * @throws `ERR_CHECKPOINT` naming the file and what is wrong with it, `ERR_FILE_NOT_FOUND` if there is no such folder,
 *  `ERR_IO` if reading fails for another reason, `ERR_ABORTED`
 */
export async function verifyCheckpoint(folder: string, options: VerifyOptions = {}): Promise<Manifest> {
  try {
    return await verify(folder, options);
  } catch (error) {
    const code = errnoOf(error);
    if (code === "EIO")
      throw new InstructPix2PixError("ERR_CHECKPOINT", `${folder}: the disk cannot read it (EIO)`, { cause: error });
    throw ioError("read", folder, error);
  }
}

async function verify(folder: string, { signal, step, fs = disk }: VerifyOptions): Promise<Manifest> {
  throwIfAborted(signal);
  const broken = (what: string, cause?: unknown) =>
    new InstructPix2PixError("ERR_CHECKPOINT", `${folder}: ${what}`, { cause });
  const { files } = await readTree(fs, folder).catch((error) => {
    if (errnoOf(error) === "ENOENT")
      throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `${folder}: the checkpoint does not exist`, {
        cause: error,
      });
    throw errnoOf(error) === "ENOTDIR" ? broken("is not a folder", error) : error;
  });
  if (!files.includes(MANIFEST)) throw broken(`has no ${MANIFEST}, so it was never completed`);
  const manifest = await readManifest(folder, fs);

  const expectedStep = step ?? stepOf(basename(folder));
  if (expectedStep !== undefined && manifest.step !== expectedStep)
    throw broken(`its manifest is of step ${manifest.step}`);
  const found = new Set(files);
  for (const name of manifest.files.keys()) if (!found.has(name)) throw broken(`${name} is missing`);
  for (const name of files)
    if (name !== MANIFEST && !manifest.files.has(name) && !isSystemFile(name))
      throw broken(`${name} is not in its manifest`);

  const expected = [...manifest.files];
  // Sizes first, which is fast and finds most damage.
  for (const [name, { size }] of expected) {
    const actual = (await fs.lstat(join(folder, name))).size;
    if (actual !== size) throw broken(`${name} has ${actual} bytes where ${size} were written`);
  }
  const hashes = await fs.sha256(
    expected.map(([name]) => join(folder, name)),
    signal,
  );
  for (const [i, [name, { size, sha256 }]] of expected.entries())
    if (hashes[i]?.size !== size || hashes[i].sha256 !== sha256)
      throw broken(`${name} is damaged: its SHA-256 is not the manifest's`);
  return manifest;
}
