import { randomBytes } from "node:crypto";
import { open, rm, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { imageFormatOf } from "../../images/index.js";

/**
 * The files that `count` images go to: the file itself for one, numbered before the extension for several. Before
 * anything expensive begins, the extension, the folder and the right to write there are checked.
 *
 * @throws `ERR_USAGE` for an extension that no format has, `ERR_IO` for what cannot be written
 */
export async function planOutputs(output: string, count: number): Promise<string[]> {
  try {
    imageFormatOf(output);
  } catch (error) {
    if (!(error instanceof InstructPix2PixError)) throw error;
    throw new InstructPix2PixError("ERR_USAGE", `--output: ${error.message}`, { cause: error });
  }
  const stem = basename(output, extname(output));
  const paths =
    count === 1
      ? [output]
      : Array.from({ length: count }, (_, i) => join(dirname(output), `${stem}-${i + 1}${extname(output)}`));
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) throw new InstructPix2PixError("ERR_IO", `cannot write "${path}": it is a folder`);
  }
  await probeFolder(dirname(output), output);
  return paths;
}

/**
 * Creates an empty file beside the output and removes it again: the only reliable check, whatever the file system
 * (read-only, quotas, permissions).
 */
async function probeFolder(folder: string, output: string): Promise<void> {
  const cannot = (reason: string, cause?: unknown) =>
    new InstructPix2PixError("ERR_IO", `cannot write "${output}": ${reason}`, { cause });
  const found = await stat(folder).catch(() => undefined);
  if (!found) throw cannot(`the folder "${folder}" does not exist`);
  if (!found.isDirectory()) throw cannot(`"${folder}" is not a folder`);
  const probe = join(folder, `.${basename(output).slice(0, 100)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    await (await open(probe, "wx")).close();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") throw cannot("permission denied", error);
    if (code === "EROFS") throw cannot("the file system is read-only", error);
    throw cannot(`the folder "${folder}" is not writable (${code})`, error);
  } finally {
    await rm(probe, { force: true });
  }
}
