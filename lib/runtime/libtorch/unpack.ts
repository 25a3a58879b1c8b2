import { constants, createWriteStream } from "node:fs";
import { copyFile, mkdir, readdir, realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import yauzl from "yauzl";
import { InstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { crc32 } from "../../files/crc32.js";
import { assertDiskSpace } from "../../files/disk.js";
import { ARCHIVE_LIMITS, type ArchiveLimits, badArchive, wantedEntries } from "./archive-entries.js";
import { placeOf, type Selection } from "./layout.js";

export interface UnpackOptions extends Selection {
  signal?: AbortSignal;
  /** Bytes written so far, and the total. */
  onProgress?: (done: number, total: number) => void;
  /** Limits on the archive; default {@link ARCHIVE_LIMITS}. */
  limits?: Partial<ArchiveLimits>;
  /** The archive's name in messages; default its path. */
  name?: string;
}

/**
 * Unpacks the wanted files of a wheel or an official libtorch archive into a folder. Names that would leave the folder
 * are refused, and so is what would unpack to more than
 * {@link ARCHIVE_LIMITS} or than the disk holds; contents are checked against their checksums.
 *
 * @throws `ERR_LIBTORCH` if the archive is damaged or hostile, `ERR_IO` if it cannot be written, `ERR_ABORTED`.
 */
export async function unpackArchive(path: string, folder: string, options: UnpackOptions): Promise<void> {
  const archive = options.name ?? path;
  const zip = await yauzl
    .openPromise(path, { lazyEntries: true, autoClose: false, strictFileNames: true })
    .catch((error: unknown) => {
      throw badArchive(archive, error);
    });
  try {
    const wanted = await wantedEntries(zip, archive, options, { ...ARCHIVE_LIMITS, ...options.limits });
    const total = wanted.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
    await assertDiskSpace(folder, total);
    let done = 0;
    for (const { entry, place } of wanted) {
      throwIfAborted(options.signal);
      const target = join(folder, place);
      await mkdir(dirname(target), { recursive: true }).catch((error: unknown) => {
        throw cannotWrite(target, error);
      });
      const stream = await zip.openReadStreamPromise(entry).catch((error: unknown) => {
        throw badArchive(archive, error);
      });
      // A damaged entry may emit its error before it is read; the error is handled below.
      stream.on("error", () => {});
      const base = done;
      await writeEntry(archive, entry, stream, target, options.signal, (bytes) => {
        options.onProgress?.(base + bytes, total);
      });
      done += entry.uncompressedSize;
    }
  } finally {
    zip.close();
  }
}

/**
 * Copies the wanted files of an unpacked libtorch into a folder, together with the `nvidia` folder beside it, if there
 * is one. The copies share their blocks with the originals where the file system supports it.
 *
 * @param root the folder that holds `lib/` and `include/`.
 * @throws `ERR_IO`, `ERR_ABORTED`.
 */
export async function copyTree(root: string, folder: string, options: UnpackOptions): Promise<void> {
  const wanted: { source: string; place: string; size: number }[] = [];
  const collect = async (base: string, top: string) => {
    for await (const { path, size } of filesBelow(base)) {
      const place = placeOf(`${top}/${path}`, options);
      if (place !== undefined) wanted.push({ source: join(base, path), place, size });
    }
  };
  const real = await realpath(root);
  await collect(real, "torch");
  const nvidia = join(dirname(real), "nvidia");
  if (await stat(nvidia).catch(() => undefined)) await collect(nvidia, "nvidia");

  const total = wanted.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  for (const { source, place, size } of wanted) {
    throwIfAborted(options.signal);
    const target = join(folder, place);
    try {
      await mkdir(dirname(target), { recursive: true });
      await copyFile(source, target, constants.COPYFILE_FICLONE);
    } catch (error) {
      throw cannotWrite(target, error);
    }
    done += size;
    options.onProgress?.(done, total);
  }
}

/**
 * Every file below a folder, as a path with forward slashes; links are followed.
 *
 * @throws `ERR_LIBTORCH` if a link leads back to a folder that it lies in
 */
async function* filesBelow(
  base: string,
  prefix = "",
  above: readonly string[] = [],
): AsyncGenerator<{ path: string; size: number }> {
  const folder = await realpath(join(base, prefix));
  if (above.includes(folder))
    throw new InstructPix2PixError("ERR_LIBTORCH", `${join(base, prefix)} leads back to ${folder}`);
  for (const name of await readdir(folder)) {
    const path = prefix ? `${prefix}/${name}` : name;
    const found = await stat(join(base, path)).catch(() => undefined);
    if (found?.isDirectory()) yield* filesBelow(base, path, [...above, folder]);
    else if (found?.isFile()) yield { path, size: found.size };
  }
}

async function writeEntry(
  archive: string,
  entry: yauzl.Entry,
  content: Readable,
  target: string,
  signal: AbortSignal | undefined,
  onBytes: (done: number) => void,
): Promise<void> {
  let checksum = 0;
  let damage: unknown;
  async function* checked(): AsyncGenerator<Buffer> {
    let done = 0;
    try {
      for await (const chunk of content) {
        checksum = crc32(chunk as Buffer, checksum);
        onBytes((done += (chunk as Buffer).length));
        yield chunk as Buffer;
      }
    } catch (error) {
      damage = error;
      throw error;
    }
  }
  try {
    // Only the executable bit is preserved, not owners and groups.
    const mode = (entry.externalFileAttributes >>> 16) & 0o100 ? 0o755 : 0o644;
    await pipeline(checked, createWriteStream(target, { flags: "wx", mode }), { signal });
  } catch (error) {
    throwIfAborted(signal);
    if (damage !== undefined) throw badArchive(archive, damage);
    throw cannotWrite(target, error);
  }
  if (checksum !== entry.crc32) throw badArchive(archive, `the checksum of ${entry.fileName} is wrong`);
}

function cannotWrite(path: string, error: unknown): InstructPix2PixError {
  return new InstructPix2PixError("ERR_IO", `${path} cannot be written: ${(error as Error).message}`, { cause: error });
}
