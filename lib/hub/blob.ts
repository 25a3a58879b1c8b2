import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { ioError } from "../files/io-error.js";
import { withLock } from "../files/lock.js";
import type { RepositoryCache } from "./cache.js";
import type { HubClient } from "./client.js";
import { type ExpectedContent, hasContent } from "./content.js";
import { HubError } from "./errors.js";

/** A download into the cache. */
export interface BlobDownload {
  readonly client: HubClient;
  readonly cache: RepositoryCache;
  readonly commit: string;
  /** The file's name in the repository. */
  readonly file: string;
  readonly content: ExpectedContent;
  readonly signal?: AbortSignal | undefined;
  /** Called with the bytes downloaded so far. */
  readonly onBytes: (done: number) => void;
}

/**
 * Downloads a file's content to its blob unless it is there, one process at a time. Interrupted downloads are resumed,
 * now or by a later call. New and existing content is checked against the repository's listing.
 *
 * @throws {@link HubError}, `ERR_IO`, `ERR_ABORTED`
 */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const { client, cache, commit, file, content, signal, onBytes } = download;
  const { size, name, digest } = content;
  if (!Number.isSafeInteger(size) || size < 0)
    throw new HubError(
      "refused",
      `${client.repository.id}: ${JSON.stringify(file)}: the hub does not say how large it is`,
    );
  const target = cache.blob(name);
  try {
    if (await hasContent(target, content, signal)) return;
    await mkdir(dirname(target), { recursive: true });
    await withLock(cache.lock(name), { signal, interval: 200 }, async () => {
      if (await hasContent(target, content, signal)) return;
      const partial = `${target}.incomplete`;
      await client.download(commit, file, { target, partial, size, digest, signal, onProgress: onBytes });
    });
  } catch (error) {
    throw ioError("write", target, error);
  }
}
