import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { datasetError } from "../data/errors.js";
import { DATASET_FORMATS, type DatasetFormat } from "../data/write/formats.js";
import { checkIsFree } from "../data/write/new-folder.js";
import { writeResumably } from "../data/write/resumable-folder.js";
import { Album } from "./album.js";
import { PHOTO_FAMILIES, type PhotoFamily } from "./families/index.js";
import { photoRows } from "./rows.js";
import { findPhotos, isHeldOut, type PhotoSource, type UnusablePhoto } from "./sources.js";

/** Options of {@link makePhotoDataset}. */
export interface PhotoDatasetOptions {
  /** The folder of photographs (JPEG, PNG, WebP, AVIF, TIFF, GIF), with its subfolders. */
  photos: string;
  /** The folder to create; it must not exist or be empty. */
  output: string;
  /** "folder": images with a metadata.jsonl; "parquet": files as on the Hugging Face hub. Default "folder". */
  format?: DatasetFormat | undefined;
  /** How many pairs to make. Default: 20 for each photograph. */
  count?: number | undefined;
  /** Width and height of the images in pixels, 16 to 4096; photographs with a shorter side are left out. Default 256. */
  resolution?: number | undefined;
  /** Seed of crops and edits, a whole number in 0..2⁵³−1. Default 0. */
  seed?: number | undefined;
  /** The families of edits that take turns. Default: all. */
  families?: readonly PhotoFamily[] | undefined;
  /** Share of the photographs to hold out, from 0 to less than 1: by whole file, chosen by its content. Default 0. */
  heldOut?: number | undefined;
  /** Makes pairs of the held-out photographs only, where others are made without them. Default false. */
  onlyHeldOut?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Called for every photograph that cannot be used, before work begins. */
  onUnusable?: ((photo: UnusablePhoto) => void) | undefined;
  /** Called if an interrupted run is continued, with the rows that are there already. */
  onResume?: ((rows: number) => void) | undefined;
  /** Called while the photographs are checked (stage "checking", in files) and after every pair ("making"). */
  onProgress?: ((progress: { stage: "checking" | "making"; done: number; total: number }) => void) | undefined;
}

/** What {@link makePhotoDataset} has made. */
export interface PhotoDatasetResult {
  /** Pairs that were written. */
  rows: number;
  /** Photographs that the pairs are of. */
  photos: number;
  /** Photographs on the other side of the hold-out. */
  otherPhotos: number;
  /** Photographs that cannot be used, and why. */
  unusable: UnusablePhoto[];
}

const OPTIONS = optionNames<PhotoDatasetOptions>()({
  photos: true,
  output: true,
  format: true,
  count: true,
  resolution: true,
  seed: true,
  families: true,
  heldOut: true,
  onlyHeldOut: true,
  signal: true,
  onUnusable: true,
  onResume: true,
  onProgress: true,
});

/** Pairs for each photograph, if no count is given. */
const PAIRS_EACH = 20;
const MAX_COUNT = 9_999_999;

/**
 * Makes a data set of edits of your own photographs: random crops, mirrored or not, and edits whose results can be computed
 * (black and white, night, snow, a red thing made blue, and so on), each in many wordings. The same photographs, options and
 * versions of this package and of sharp give the same files; a larger count begins with the same pairs. Interrupted work is
 * continued by the same call. libtorch is not needed.
 *
 * @throws before anything is written: `ERR_INVALID_ARGUMENT`, `ERR_FILE_NOT_FOUND` without such a folder, `ERR_DATASET` if it
 *   holds no photograph that can be used, or none on the side that is asked for, `ERR_IO` if the output is not free or an
 *   interrupted run with other options is in its place. Later: `ERR_DATASET` if the photographs allow no edit of the families,
 *   `ERR_IN_USE` if another process writes the output, `ERR_IO`, `ERR_ABORTED`
 *
 * @example
 * ```js
 * import { makePhotoDataset } from "instruct-pix2pix";
 *
 * const { rows, photos, unusable } = await makePhotoDataset({
 *   photos: "./photos",
 *   output: "./photo-pairs",
 *   count: 8,
 *   resolution: 32,
 * });
 * console.log(`${rows} pairs of ${photos} photographs; ${unusable.length} cannot be used`);
 * ```
 */
export async function makePhotoDataset(options: PhotoDatasetOptions): Promise<PhotoDatasetResult> {
  const given = checked(options);
  const {
    photos: folder,
    output,
    format,
    resolution,
    seed,
    families,
    heldOut,
    onlyHeldOut,
    signal,
    onProgress,
  } = given;
  throwIfAborted(signal);
  await checkIsFree(resolve(output), output);
  const { usable, unusable } = await findPhotos(folder, resolution, {
    signal,
    onProgress: (done, total) => onProgress?.({ stage: "checking", done, total }),
  });
  for (const photo of unusable) given.onUnusable?.(photo);
  const chosen = usable.filter((photo) => isHeldOut(photo, heldOut) === onlyHeldOut);
  if (chosen.length === 0)
    throw datasetError(
      onlyHeldOut
        ? `none of the ${usable.length} photographs is held out; hold out a larger share than ${heldOut}`
        : `all ${usable.length} photographs are held out; hold out a smaller share than ${heldOut}`,
    );
  const count = given.count ?? PAIRS_EACH * chosen.length;
  const settings = { version: 1, resolution, seed, families, photos: digest(chosen) };
  const album = new Album(folder, chosen, resolution, signal);
  await writeResumably(output, { format, count, settings, onResume: given.onResume }, async function* (from) {
    let done = from;
    for await (const row of photoRows(album, seed, { from, to: count }, families)) {
      throwIfAborted(signal);
      yield row;
      onProgress?.({ stage: "making", done: ++done, total: count });
    }
  });
  return { rows: count, photos: chosen.length, otherPhotos: usable.length - chosen.length, unusable };
}

/** What pairs depend on of the photographs. */
function digest(photos: readonly PhotoSource[]): string {
  const hash = createHash("sha256");
  for (const { name, sha256 } of photos) hash.update(JSON.stringify([name, sha256]));
  return hash.digest("hex");
}

function checked(options: PhotoDatasetOptions) {
  const {
    photos,
    output,
    format = "folder",
    count,
    resolution = 256,
    seed = 0,
    families = PHOTO_FAMILIES,
    heldOut = 0,
    onlyHeldOut = false,
    ...others
  } = checkOptions<PhotoDatasetOptions>(options, OPTIONS);
  const refuse = (message: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", message);
  for (const [name, path] of Object.entries({ photos, output }))
    if (typeof path !== "string" || path === "") throw refuse(`${name} is the path of a folder`);
  if (!DATASET_FORMATS.includes(format)) throw refuse(`format is one of ${DATASET_FORMATS.join(", ")}`);
  const whole = (name: string, value: number, least: number, most: number) => {
    if (!Number.isSafeInteger(value) || value < least || value > most)
      throw refuse(`${name} is a whole number from ${least} to ${most}, not ${value}`);
  };
  if (count !== undefined) whole("count", count, 1, MAX_COUNT);
  whole("resolution", resolution, 16, 4096);
  whole("seed", seed, 0, Number.MAX_SAFE_INTEGER);
  if (!Array.isArray(families) || families.length === 0) throw refuse("families is a list of names");
  for (const family of families)
    if (!PHOTO_FAMILIES.includes(family))
      throw refuse(`unknown family of edits ${JSON.stringify(family)}; known: ${PHOTO_FAMILIES.join(", ")}`);
  if (!(heldOut >= 0 && heldOut < 1)) throw refuse(`heldOut is a number from 0 to less than 1, not ${heldOut}`);
  if (onlyHeldOut && heldOut === 0) throw refuse("onlyHeldOut takes heldOut: the share of photographs to hold out");
  return {
    ...{ photos: photos!, output: output!, format, count, resolution, seed, families, heldOut, onlyHeldOut },
    ...others,
  };
}
