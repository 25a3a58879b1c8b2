import { mkdir } from "node:fs/promises";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { freeBytes, gigabytes } from "../files/disk.js";
import { ioError } from "../files/io-error.js";
import { downloadBlob } from "./blob.js";
import type { RepositoryCache } from "./cache.js";
import type { HubClient, RepositoryFile } from "./client.js";
import { expectedContent } from "./content.js";
import { repositoryError } from "./errors.js";
import { assertFileName } from "./file-names.js";
import type { ProgressReport } from "./progress.js";

/** Source of the files of one commit. */
export interface FileSource {
  /** The name of the repository or the cache, for messages. */
  readonly label: string;
  /** The known files of the commit. */
  readonly names: ReadonlySet<string>;
  /** Ensures that these files are in the cache. */
  obtain(names: readonly string[]): Promise<void>;
  /** The path of an obtained file. */
  path(name: string): string;
}

/** The cached files of a commit, without network access. */
export class CachedFiles implements FileSource {
  readonly label: string;
  readonly names: ReadonlySet<string>;
  readonly #cache: RepositoryCache;
  readonly #commit: string;

  constructor(repository: string, cache: RepositoryCache, commit: string, names: Iterable<string>) {
    this.label = `the cache of ${repository} (${cache.snapshot(commit)}; offline)`;
    this.names = new Set(names);
    this.#cache = cache;
    this.#commit = commit;
  }

  async obtain(names: readonly string[]): Promise<void> {
    for (const name of names) {
      assertFileName(name, this.label);
      if (!(await this.#cache.has(this.#commit, name)))
        throw repositoryError(`${this.label}: no file ${JSON.stringify(name)}`);
    }
  }

  path(name: string): string {
    return this.#cache.file(this.#commit, name);
  }
}

export interface HubFilesOptions {
  readonly signal?: AbortSignal | undefined;
  /** Parallel downloads. */
  readonly concurrency: number;
  /** Whether the cache holds copies instead of links. */
  readonly copies: boolean;
  readonly progress: ProgressReport;
}

/** The files of a commit as listed by the hub; missing ones are downloaded. */
export class HubFiles implements FileSource {
  readonly label: string;
  readonly names: ReadonlySet<string>;
  readonly #client: HubClient;
  readonly #cache: RepositoryCache;
  readonly #commit: string;
  readonly #files: ReadonlyMap<string, RepositoryFile>;
  readonly #options: HubFilesOptions;

  constructor(
    client: HubClient,
    cache: RepositoryCache,
    commit: string,
    files: readonly RepositoryFile[],
    options: HubFilesOptions,
  ) {
    this.label = client.repository.id;
    this.#files = new Map(files.map((file) => [file.name, file]));
    this.names = new Set(this.#files.keys());
    this.#client = client;
    this.#cache = cache;
    this.#commit = commit;
    this.#options = options;
  }

  async obtain(names: readonly string[]): Promise<void> {
    const missing: RepositoryFile[] = [];
    for (const name of new Set(names)) {
      assertFileName(name, this.label);
      const file = this.#files.get(name);
      if (file === undefined) throw repositoryError(`${this.label}: no file ${JSON.stringify(name)}`);
      if (!(await this.#cache.has(this.#commit, name))) missing.push(file);
    }
    if (missing.length === 0) return;
    await this.#checkSpace(missing.reduce((sum, { size }) => sum + size, 0));
    const { progress, concurrency, signal } = this.#options;
    for (const file of missing) progress.expect(file.name, file.size);
    await inParallel(missing, concurrency, signal, (file, inner) => this.#download(file, inner));
  }

  path(name: string): string {
    return this.#cache.file(this.#commit, name);
  }

  async #download(file: RepositoryFile, signal: AbortSignal): Promise<void> {
    const client = this.#client;
    const metadata = await client.metadata(this.#commit, file.name, signal);
    const onBytes = (done: number) => this.#options.progress.bytes(file.name, done);
    const content = expectedContent(file, metadata);
    const [cache, commit] = [this.#cache, this.#commit];
    await downloadBlob({ client, cache, commit, file: file.name, content, signal, onBytes });
    this.#options.progress.done(file.name);
    try {
      await cache.link(commit, file.name, content.name, this.#options.copies);
    } catch (error) {
      throw ioError("write", this.path(file.name), error);
    }
  }

  /** Throws before downloading more than the disk can hold. */
  async #checkSpace(size: number): Promise<void> {
    const folder = this.#cache.folder;
    let free: number;
    try {
      await mkdir(folder, { recursive: true });
      free = await freeBytes(folder);
    } catch (error) {
      throw ioError("use", folder, error);
    }
    if (free < size)
      throw new InstructPix2PixError(
        "ERR_IO",
        `not enough room in ${folder}: ${gigabytes(size)} are needed and ${gigabytes(free)} are free; make room, or set HF_HOME to a folder elsewhere`,
      );
  }
}

/** Processes all items, a few at a time. The first failure stops the others; all have ended when the promise settles. */
async function inParallel<T>(
  items: readonly T[],
  concurrency: number,
  signal: AbortSignal | undefined,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const inner = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  // Workers share the iterator: each item is taken once.
  const queue = items.values();
  let failure: { error: unknown } | undefined;
  const worker = async () => {
    for (const item of queue) {
      if (failure) return;
      try {
        await work(item, inner);
      } catch (error) {
        failure ??= { error };
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker));
  throwIfAborted(signal);
  if (failure) throw failure.error;
}
