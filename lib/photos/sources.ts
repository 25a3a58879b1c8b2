import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { ahead } from "../data/ahead.js";
import { datasetError, isFaultOfRow, reasonOf } from "../data/errors.js";
import { errnoOf, ioError } from "../files/io-error.js";
import { loadImage, type RgbImage } from "../images/index.js";

/** What files of photographs are called. */
const EXTENSIONS = new Set([".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".gif"]);
/** Generous, so that no image counts as unreadable because the machine is busy. */
const DECODE_TIMEOUT_MS = 600_000;
/** Photographs that are read at a time while all are checked. */
const AHEAD = 2;
/** Parts of 1 into which a hash is divided. */
const PARTS = 2 ** 32;

/** A file that pairs can be made of. */
export interface PhotoSource {
  /** Below the folder, with `/` between the parts. */
  readonly name: string;
  /** SHA-256 of the file, as hexadecimal digits. */
  readonly sha256: string;
}

/** A photograph that cannot be used. */
export interface UnusablePhoto {
  /** Its file below the folder, with `/` between the parts. */
  name: string;
  /** Why, such as "is too small: 20×20 pixels, where 256 on each side are needed". */
  reason: string;
}

/** The photographs below a folder, sorted by name. */
export interface FoundPhotos {
  usable: PhotoSource[];
  unusable: UnusablePhoto[];
}

/**
 * Finds the photographs below a folder, and reads each of them once, so that what is wrong is known before work begins. Hidden
 * files and folders are passed over.
 *
 * @param resolution the shorter side that a photograph must have
 * @throws `ERR_FILE_NOT_FOUND` without such a folder, `ERR_DATASET` if it holds no photograph or none can be used
 */
export async function findPhotos(
  folder: string,
  resolution: number,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void } = {},
): Promise<FoundPhotos> {
  const names = await photoNames(folder);
  if (names.length === 0)
    throw datasetError(`${quote(folder)} holds no photographs: no files ${[...EXTENSIONS].join(", ")}`);
  const found: FoundPhotos = { usable: [], unusable: [] };
  for await (const each of ahead(names.length, AHEAD, (i) => look(folder, names[i]!, resolution, signal))) {
    throwIfAborted(signal);
    if ("reason" in each) found.unusable.push(each);
    else found.usable.push(each);
    onProgress?.(found.usable.length + found.unusable.length, names.length);
  }
  const [first] = found.unusable;
  if (found.usable.length === 0)
    throw datasetError(
      `none of the ${names.length} photographs in ${quote(folder)} can be used; the first: ${quote(first!.name)} ${first!.reason}`,
    );
  return found;
}

async function photoNames(folder: string): Promise<string[]> {
  const names: string[] = [];
  const visit = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      if (entry.name.startsWith(".")) continue;
      const name = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) await visit(name);
      else if (EXTENSIONS.has(extname(name).toLowerCase()) && (await isFile(join(folder, name)))) names.push(name);
    }
  };
  await visit("").catch((error) => {
    if (errnoOf(error) === "ENOENT")
      throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `the folder of photographs ${quote(folder)} does not exist`);
    throw ioError("read", folder, error);
  });
  return names.sort();
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

async function look(
  folder: string,
  name: string,
  resolution: number,
  signal: AbortSignal | undefined,
): Promise<PhotoSource | UnusablePhoto> {
  try {
    const bytes = await readFile(join(folder, name)).catch((error) => {
      throw errnoOf(error) === "EACCES" ? datasetError("cannot be read: permission denied", error) : error;
    });
    const { width, height } = await loadImage(bytes, { timeoutMs: DECODE_TIMEOUT_MS, signal });
    if (Math.min(width, height) < resolution)
      return { name, reason: `is too small: ${width}×${height} pixels, where ${resolution} on each side are needed` };
    return { name, sha256: createHash("sha256").update(bytes).digest("hex") };
  } catch (error) {
    if (!isFaultOfRow(error)) throw error;
    return { name, reason: reasonOf(error).replace(/^the image:? /, "") };
  }
}

/** Decodes a photograph that has been found before. */
export function loadPhoto(folder: string, { name }: PhotoSource, signal?: AbortSignal): Promise<RgbImage> {
  return loadImage(join(folder, name), { timeoutMs: DECODE_TIMEOUT_MS, signal });
}

/**
 * Whether a photograph is held out: by its content alone, so that it stays on its side when others come or it is renamed, and
 * copies of a file are on the same side.
 *
 * @param share of photographs that are held out, 0..1, if there are many
 */
export function isHeldOut({ sha256 }: PhotoSource, share: number): boolean {
  return Number.parseInt(sha256.slice(0, 8), 16) / PARTS < share;
}
