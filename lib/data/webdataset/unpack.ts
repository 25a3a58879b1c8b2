import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { Readable } from "node:stream";
import { createTarDecoder } from "modern-tar";
import { throwIfAborted } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { errnoOf } from "../../files/io-error.js";
import { writeFully } from "../../files/whole-io.js";
import { datasetError, reasonOf } from "../errors.js";
import { partOf } from "./names.js";

/** Where a part of a sample lies in the file of parts: first byte and length. */
export type Place = readonly [offset: number, length: number];

/** The samples of a shard, in order. */
export interface ShardIndex {
  readonly samples: readonly { readonly key: string; readonly parts: Readonly<Record<string, Place>> }[];
  /** SHA-256 of names and content. */
  readonly hash: string;
}

/** Larger members are no images, texts or numbers. */
const MAX_MEMBER = 1 << 30;
/** Members of one sample, and samples of one shard. */
const [MOST_PARTS, MOST_SAMPLES] = [1000, 10_000_000];

/**
 * Reads a tar shard from its first byte to its last, and writes what its members hold one after the other into a file, in which
 * every part can be read on its own. Members that follow one another with the same key are one sample, as in WebDataset.
 *
 * @param name of the shard, for messages
 * @throws `ERR_DATASET` naming the shard, and the member, for what is no tar file, is cut off or damaged; `ERR_ABORTED`, and what
 *   Node's file functions throw
 */
export async function unpackShard(
  name: string,
  tar: string,
  target: string,
  signal: AbortSignal | undefined,
): Promise<ShardIndex> {
  const output = await open(target, "w");
  try {
    const samples = new Samples(name, output);
    let last: string | undefined;
    try {
      const bytes = Readable.toWeb(createReadStream(tar)) as ReadableStream<Uint8Array>;
      for await (const { header, body } of bytes.pipeThrough(createTarDecoder({ strict: true }))) {
        throwIfAborted(signal);
        last = header.name;
        const part = header.type === "file" ? partOf(header.name) : undefined;
        if (!part) await body.cancel();
        else if (header.size > MAX_MEMBER)
          throw datasetError(`shard ${quote(name)}: ${quote(last)} has ${header.size} bytes, more than an image`);
        else await samples.add(part, body);
      }
    } catch (error) {
      throwIfAborted(signal);
      // The file system's errors are no fault of the shard's content.
      if (errnoOf(error) !== undefined || (error as { code?: unknown }).code === "ERR_DATASET") throw error;
      const where = last === undefined ? "" : `, at or after ${quote(last)}`;
      throw datasetError(`shard ${quote(name)} is no tar file or damaged${where}: ${reasonOf(error)}`, error);
    }
    await output.datasync();
    return samples.index();
  } finally {
    await output.close();
  }
}

class Samples {
  readonly #name: string;
  readonly #output: FileHandle;
  readonly #samples: { key: string; parts: Record<string, Place> }[] = [];
  readonly #hash = createHash("sha256");
  #end = 0;

  constructor(name: string, output: FileHandle) {
    this.#name = name;
    this.#output = output;
  }

  async add({ key, part }: { key: string; part: string }, body: ReadableStream<Uint8Array>): Promise<void> {
    const start = this.#end;
    this.#hash.update(`${JSON.stringify([key, part])}\n`);
    for await (const piece of body) {
      await writeFully(this.#output, piece, this.#end);
      this.#hash.update(piece);
      this.#end += piece.length;
    }
    this.#hash.update(`\n${this.#end - start}\n`);
    const refuse = (what: string) => datasetError(`shard ${quote(this.#name)}: sample ${quote(key)} ${what}`);
    let sample = this.#samples.at(-1);
    if (sample?.key !== key) {
      sample = { key, parts: Object.create(null) as Record<string, Place> };
      if (this.#samples.push(sample) > MOST_SAMPLES) throw refuse(`is one of more than ${MOST_SAMPLES}`);
    }
    if (part in sample.parts) throw refuse(`has ${quote(part)} twice`);
    if (Object.keys(sample.parts).length >= MOST_PARTS) throw refuse(`has more than ${MOST_PARTS} parts`);
    sample.parts[part] = [start, this.#end - start];
  }

  index(): ShardIndex {
    return { samples: this.#samples, hash: this.#hash.digest("hex") };
  }
}
