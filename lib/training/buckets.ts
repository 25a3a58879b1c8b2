import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { ahead } from "../data/ahead.js";
import { type Buckets, bucketSizes, bucketsOf } from "../data/buckets.js";
import type { EditDataset } from "../data/dataset.js";
import { isFaultOfRow } from "../data/errors.js";
import { withLock } from "../files/lock.js";
import { loadSize } from "../images/load.js";
import type { ImageSize } from "../images/pixels.js";
import { writeFileAtomically } from "../images/write-file.js";
import type { TrainOptions } from "./options.js";

/** Images whose sizes are read at a time. */
const AHEAD = 8;
/** Version of the file. */
const FORMAT = 1;

export interface BucketHooks {
  onProgress(done: number, total: number): void;
  warn(message: string): void;
}

/**
 * The aspect-ratio buckets of a data set, by the sizes of its edited images; undefined unless they are asked for. Sizes
 * are read once and kept beside the latents.
 *
 * @param unit of the sides, in pixels: by what the autoencoder makes images smaller
 * @throws `ERR_INVALID_ARGUMENT` naming what does not fit together; `ERR_IO`, `ERR_ABORTED`
 */
export async function openBuckets(
  dataset: EditDataset,
  options: TrainOptions,
  unit: number,
  hooks: BucketHooks,
  signal: AbortSignal | undefined,
): Promise<Buckets | undefined> {
  const { aspectRatioBuckets, bucketStep: step, resolution, cacheDir, outputDir } = options;
  if (!aspectRatioBuckets) return undefined;
  const refuse = (message: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", message);
  if (step % unit !== 0)
    throw refuse(`bucketStep is ${step}, but this model's autoencoder takes sides that are multiples of ${unit}`);
  const sizes = bucketSizes(resolution, step);
  if (sizes.length < 2)
    throw refuse(
      `with resolution ${resolution} and bucketStep ${step} there is ${sizes.length === 0 ? "no bucket" : "one bucket only"}: give a smaller bucketStep, a multiple of ${unit}`,
    );
  return bucketsOf(await imageSizes(dataset, join(cacheDir ?? outputDir, "latents"), hooks, signal), sizes);
}

/** The size of each row's edited image; undefined where it cannot be read. */
async function imageSizes(
  dataset: EditDataset,
  folder: string,
  hooks: BucketHooks,
  signal: AbortSignal | undefined,
): Promise<(ImageSize | undefined)[]> {
  const key = createHash("sha256").update(`sizes ${FORMAT} ${dataset.length} ${dataset.stamp}`).digest("hex");
  const path = join(folder, `sizes-${key.slice(0, 16)}.json`);
  const kept = await readKept(path, key, dataset.length);
  if (kept) return kept;
  const onWait = (holder: string) => hooks.warn(`waiting for ${holder}, which reads the sizes of the same images`);
  return withLock(`${path}.lock`, { ...(signal && { signal }), onWait }, async () => {
    const made = await readKept(path, key, dataset.length);
    if (made) return made;
    const sizes: (ImageSize | undefined)[] = [];
    for await (const size of ahead(dataset.length, AHEAD, (row) => sizeOf(dataset, row, signal))) {
      sizes.push(size);
      hooks.onProgress(sizes.length, dataset.length);
    }
    const pairs = sizes.map((size) => (size ? [size.width, size.height] : null));
    await mkdir(folder, { recursive: true });
    await writeFileAtomically(path, Buffer.from(JSON.stringify({ key, sizes: pairs })));
    return sizes;
  });
}

/** What is wrong with a row is told when it is loaded. */
async function sizeOf(
  dataset: EditDataset,
  row: number,
  signal: AbortSignal | undefined,
): Promise<ImageSize | undefined> {
  try {
    const { edited } = await dataset.row(row);
    return await loadSize("path" in edited ? edited.path : edited.bytes, { ...(signal && { signal }) });
  } catch (error) {
    if (!isFaultOfRow(error)) throw error;
    return undefined;
  }
}

async function readKept(path: string, key: string, rows: number): Promise<(ImageSize | undefined)[] | undefined> {
  let kept: { key?: unknown; sizes?: unknown };
  try {
    kept = JSON.parse(await readFile(path, "utf8")) as typeof kept;
  } catch {
    // Missing or damaged: it is made anew.
    return undefined;
  }
  if (kept?.key !== key || !Array.isArray(kept.sizes) || kept.sizes.length !== rows) return undefined;
  const isSide = (side: unknown) => Number.isSafeInteger(side) && (side as number) > 0;
  const sizes = kept.sizes.map((pair: unknown) =>
    Array.isArray(pair) && pair.length === 2 && pair.every(isSide)
      ? { width: pair[0] as number, height: pair[1] as number }
      : undefined,
  );
  return sizes.every((size, row) => size || (kept.sizes as unknown[])[row] === null) ? sizes : undefined;
}
