import { type Buckets, rowsByBucket } from "../data/buckets.js";
import type { BucketRows, CachedLatents } from "./latent-cache.js";

/**
 * A latent cache for each bucket, since latents of different sizes have records of different lengths. A batch is of one bucket.
 *
 * @param open opens the cache of one, with the number of rows of those before
 * @throws as `LatentCache.open`
 */
export async function openBucketedLatents(
  buckets: Buckets,
  open: (bucket: BucketRows, rowsBefore: number) => Promise<CachedLatents>,
): Promise<CachedLatents> {
  const caches: CachedLatents[] = [];
  const close = async () => {
    for (const cache of caches) await cache.close();
  };
  let done = 0;
  try {
    for (const [bucket, rows] of rowsByBucket(buckets).entries()) {
      caches.push(await open({ size: buckets.sizes[bucket]!, rows }, done));
      done += rows.length;
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    get unusableRows() {
      return caches.reduce((sum, { unusableRows }) => sum + unusableRows, 0);
    },
    read: (rows, flips, signal) => caches[buckets.of[rows[0]!]!]!.read(rows, flips, signal),
    close,
  };
}
