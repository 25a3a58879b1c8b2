import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { join, resolve } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { errnoOf, ioError } from "../../files/io-error.js";
import { isFile } from "../../files/is-file.js";
import { withLock } from "../../files/lock.js";
import { readFully } from "../../files/whole-io.js";
import { displayUrl } from "../../images/fetch.js";
import { writeFileAtomically } from "../../images/write-file.js";
import { downloadFile } from "../../network/download.js";
import { failureMessage } from "../../network/failure.js";
import { HttpClient } from "../../network/http-client.js";
import { HttpError } from "../../network/http-error.js";
import { datasetError } from "../errors.js";
import { type Place, type ShardIndex, unpackShard } from "./unpack.js";

/** A shard by its path or its URL. */
export interface Shard {
  /** As it was given, for messages; a URL without credentials and query. */
  readonly name: string;
  readonly source: string | URL;
}

/** Version of what is kept. */
const FORMAT = 1;
/** Milliseconds that a server may be silent. */
const SILENCE_MS = 60_000;
/** Indices of shards that are kept in memory. */
const INDICES = 16;
const [INDEX, PARTS] = [".json", ".parts"];

export interface ShardStoreOptions {
  /** Where unpacked shards are kept. */
  readonly folder: string;
  /** Bytes of unpacked shards that may lie there; more than that only while one is unpacked. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
  /** Called with bytes of shards that are downloaded. */
  readonly onBytes?: ((done: number, total: number) => void) | undefined;
}

/** @throws `ERR_DATASET` for a URL that is none */
export function shardAt(source: string): Shard {
  if (!/^[a-z][a-z0-9+.-]+:\/\//i.test(source)) return { name: source, source: resolve(source) };
  if (!URL.canParse(source)) throw datasetError(`${quote(source)} is not a valid URL`);
  const url = new URL(source);
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw datasetError(`shard ${quote(displayUrl(url))}: shards are read from the disk, http and https`);
  return { name: displayUrl(url), source: url };
}

/**
 * Tar shards that are read in whole, one after the other, and whose samples can then be read in any order: from an unpacked copy,
 * of which as many are kept as the limit allows. What a shard held is kept for good, so that a later run knows its number of
 * rows without reading it.
 */
export class ShardStore {
  readonly #options: ShardStoreOptions;
  readonly #client = new HttpClient({
    connectTimeout: SILENCE_MS,
    idleTimeout: SILENCE_MS,
    redirects: "any",
    retry: { retries: 5, unseen: 2, delay: 500 },
  });
  readonly #indices = new Map<string, Promise<ShardIndex>>();
  readonly #unpacking = new Map<string, Promise<ShardIndex>>();

  /** The shard that was read last. */
  #used: string | undefined;

  constructor(options: ShardStoreOptions) {
    this.#options = options;
  }

  /**
   * What a shard holds; it is read unless that is known.
   *
   * @throws `ERR_DATASET` naming a shard that is missing or damaged; `ERR_DOWNLOAD`, `ERR_IO`, `ERR_ABORTED`
   */
  async index(shard: Shard): Promise<ShardIndex> {
    const key = await this.#keyOf(shard);
    const known = this.#indices.get(key);
    if (known) {
      this.#indices.delete(key);
      this.#indices.set(key, known);
      return known;
    }
    const index = this.#readIndex(key).then((found) => found ?? this.#unpacked(shard, key));
    // Of a failure nothing is kept.
    index.catch(() => this.#indices.delete(key));
    this.#indices.set(key, index);
    for (const oldest of this.#indices.keys()) {
      if (this.#indices.size <= INDICES) break;
      this.#indices.delete(oldest);
    }
    return index;
  }

  /**
   * The bytes of a part of a sample. A shard whose copy is no longer kept is read again.
   *
   * @throws as {@link index}; `ERR_DATASET` if the shard is another than it was
   */
  async read(shard: Shard, [offset, length]: Place): Promise<Buffer> {
    const key = await this.#keyOf(shard);
    const path = this.#path(key, PARTS);
    if (this.#used !== key) {
      this.#used = key;
      // What is used now is removed last. The copy may not be there.
      await utimes(path, new Date(), new Date()).catch(() => {});
    }
    for (let attempt = 0; ; attempt++)
      try {
        return await readAt(path, offset, length);
      } catch (error) {
        if (errnoOf(error) !== "ENOENT") throw ioError("read", path, error);
        // Others may take it away again before it is opened.
        if (attempt > 5) throw datasetError(`shard ${quote(shard.name)}: its copy ${path} vanishes again and again`);
        await this.#unpacked(shard, key);
      }
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  #path(key: string, ending: string): string {
    return join(this.#options.folder, key + ending);
  }

  /** Names a shard's content as far as can be told without reading it. */
  async #keyOf({ source, name }: Shard): Promise<string> {
    const of = (what: unknown) =>
      createHash("sha256")
        .update(JSON.stringify([FORMAT, what]))
        .digest("hex")
        .slice(0, 32);
    if (typeof source !== "string") return of(source.href);
    const info = await stat(source).catch((error: unknown) => {
      throw errnoOf(error) === "ENOENT"
        ? new InstructPix2PixError("ERR_FILE_NOT_FOUND", `there is no shard ${quote(name)}`, { cause: error })
        : ioError("read", source, error);
    });
    if (!info.isFile()) throw datasetError(`shard ${quote(name)} is not a file`);
    return of([source, info.size, info.mtimeMs]);
  }

  async #readIndex(key: string): Promise<ShardIndex | undefined> {
    try {
      const [text, digest] = (await readFile(this.#path(key, INDEX), "utf8")).split("\n");
      if (createHash("sha256").update(text!).digest("hex") !== digest) return undefined;
      return JSON.parse(text!) as ShardIndex;
    } catch {
      // Missing or damaged: the shard is read again.
      return undefined;
    }
  }

  /** Unpacks a shard unless its copy is there, one process at a time. */
  #unpacked(shard: Shard, key: string): Promise<ShardIndex> {
    const running = this.#unpacking.get(key);
    if (running) return running;
    const { folder, signal } = this.#options;
    const work = async () => {
      await mkdir(folder, { recursive: true });
      return withLock(this.#path(key, ".lock"), { ...(signal && { signal }), interval: 200 }, async () => {
        const before = await this.#readIndex(key);
        const target = this.#path(key, PARTS);
        if (before && (await isFile(target))) return before;
        return await this.#unpack(shard, key, before, target);
      });
    };
    const unpacking = work()
      .catch((error: unknown) => {
        throw ioError("unpack a shard into", folder, error);
      })
      .finally(() => this.#unpacking.delete(key));
    this.#unpacking.set(key, unpacking);
    return unpacking;
  }

  async #unpack(shard: Shard, key: string, before: ShardIndex | undefined, target: string): Promise<ShardIndex> {
    const { source, name } = shard;
    const { signal } = this.#options;
    const downloaded = this.#path(key, ".tar");
    const partial = `${target}.tmp`;
    try {
      if (typeof source !== "string") await this.#download(shard, source, downloaded);
      const index = await unpackShard(name, typeof source === "string" ? source : downloaded, partial, signal);
      if (before && before.hash !== index.hash)
        throw datasetError(
          `shard ${quote(name)} has changed since it was first read; remove ${this.#path(key, INDEX)}`,
        );
      const text = JSON.stringify(index);
      const digest = createHash("sha256").update(text).digest("hex");
      if (!before) await writeFileAtomically(this.#path(key, INDEX), Buffer.from(`${text}\n${digest}\n`));
      await this.#makeRoom((await stat(partial)).size);
      await rename(partial, target);
      return index;
    } finally {
      for (const leftover of [downloaded, partial]) await rm(leftover, { force: true });
    }
  }

  async #download({ name }: Shard, url: URL, target: string): Promise<void> {
    const { signal, onBytes } = this.#options;
    try {
      await downloadFile(this.#client, url, {
        ...{ target, partial: `${target}.incomplete`, signal },
        onProgress: (done, total) => onBytes?.(done, total ?? 0),
      });
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      throw new InstructPix2PixError("ERR_DOWNLOAD", `shard ${quote(name)}: ${failureMessage(error)}`, {
        cause: error,
      });
    }
  }

  /** Removes copies that were not used for longest. */
  async #makeRoom(needed: number): Promise<void> {
    const { folder, maxBytes } = this.#options;
    const copies: { path: string; size: number; used: number }[] = [];
    for (const name of await readdir(folder)) {
      if (!name.endsWith(PARTS)) continue;
      const info = await stat(join(folder, name)).catch(() => undefined);
      if (info) copies.push({ path: join(folder, name), size: info.size, used: info.mtimeMs });
    }
    let total = copies.reduce((sum, { size }) => sum + size, needed);
    for (const { path, size } of copies.sort((a, b) => a.used - b.used)) {
      if (total <= maxBytes) return;
      await rm(path, { force: true });
      total -= size;
    }
  }
}

async function readAt(path: string, offset: number, length: number): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const bytes = Buffer.allocUnsafeSlow(length);
    await readFully(file, bytes, offset, path);
    return bytes;
  } finally {
    await file.close();
  }
}
