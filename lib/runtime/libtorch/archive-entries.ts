import type yauzl from "yauzl";
import { InstructPix2PixError, isError } from "../../core/errors.js";
import { fileNameProblem } from "../../hub/file-names.js";
import { placeOf, type Selection } from "./layout.js";

/** Limits on an archive. */
export interface ArchiveLimits {
  /** Entries, wanted or not. */
  entries: number;
  /** Bytes of all wanted files, unpacked. */
  bytes: number;
  /** Maximal compression ratio of a file, unless it is small. */
  ratio: number;
}

/** A wheel of libtorch has 15,000 entries; all its libraries with CUDA have 4 GB unpacked, three times their packed size. */
export const ARCHIVE_LIMITS: ArchiveLimits = { entries: 100_000, bytes: 16_000_000_000, ratio: 200 };

/** A file of this size is harmless at any compression ratio. */
const SMALL = 16_000_000;

/** The type of file that Unix archivers put into the upper half of the attributes, and those of plain files. */
const TYPE_MASK = 0o170000;
const SYMBOLIC_LINK = 0o120000;
const PLAIN = [0, 0o100000];

/** A file to unpack, and its path relative to the folder. */
export interface WantedEntry {
  entry: yauzl.Entry;
  place: string;
}

/**
 * The wanted files of an archive, checked so that on every system each has a distinct path inside the folder.
 *
 * @throws `ERR_LIBTORCH` for a hostile or damaged archive
 */
export async function wantedEntries(
  zip: yauzl.ZipFile,
  archive: string,
  selection: Selection,
  limits: ArchiveLimits,
): Promise<WantedEntry[]> {
  const wanted: WantedEntry[] = [];
  const places = new Places();
  let count = 0;
  let bytes = 0;
  for await (const entry of entriesOf(zip, archive)) {
    if (++count > limits.entries) throw badArchive(archive, `it has more than ${limits.entries} entries`);
    const { fileName, uncompressedSize, compressedSize } = entry;
    const place = fileName.endsWith("/") ? undefined : placeOf(fileName, selection);
    if (place === undefined) continue;
    const problem = fileNameProblem(fileName) ?? places.problem(place) ?? typeProblem(entry);
    if (problem) throw badArchive(archive, `the entry ${JSON.stringify(fileName.slice(0, 200))} ${problem}`);
    bytes += uncompressedSize;
    if (bytes > limits.bytes) throw badArchive(archive, `it unpacks to more than ${limits.bytes} bytes`);
    if (uncompressedSize > SMALL && uncompressedSize > limits.ratio * compressedSize)
      throw badArchive(archive, `${fileName} unpacks to more than ${limits.ratio} times its size in the archive`);
    wanted.push({ entry, place });
  }
  return wanted;
}

function typeProblem({ externalFileAttributes }: yauzl.Entry): string | undefined {
  const type = (externalFileAttributes >>> 16) & TYPE_MASK;
  if (type === SYMBOLIC_LINK) return "is a symbolic link";
  return PLAIN.includes(type) ? undefined : "is not a plain file";
}

/** The paths used so far, compared case-insensitively as some file systems do. */
class Places {
  readonly #files = new Set<string>();
  readonly #folders = new Set<string>();

  /** Claims a path. Returns the reason if it is not available. */
  problem(place: string): string | undefined {
    const key = place.normalize("NFC").toLowerCase();
    if (this.#files.has(key)) return "appears twice";
    if (this.#folders.has(key)) return "is a folder as well";
    this.#files.add(key);
    for (let end = key.lastIndexOf("/"); end > 0; end = key.lastIndexOf("/", end - 1)) {
      const folder = key.slice(0, end);
      if (this.#files.has(folder)) return "is inside of a file";
      if (this.#folders.has(folder)) break;
      this.#folders.add(folder);
    }
    return undefined;
  }
}

async function* entriesOf(zip: yauzl.ZipFile, archive: string): AsyncGenerator<yauzl.Entry> {
  try {
    yield* zip.eachEntry();
  } catch (error) {
    throw badArchive(archive, error);
  }
}

/** The error for a damaged, hostile or unknown archive. */
export function badArchive(archive: string, why: unknown): InstructPix2PixError {
  const reason = isError(why) ? why.message : String(why);
  return new InstructPix2PixError("ERR_LIBTORCH", `${archive} cannot be unpacked: ${reason}`, { cause: why });
}
