import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { throwIfAborted } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { missingColumn } from "../columns.js";
import { type EditColumns, type EditDataset, type RowSelector, type StoredPicture, selectRows } from "../dataset.js";
import { datasetError } from "../errors.js";
import { type Shard, ShardStore, type ShardStoreOptions, shardAt } from "./shard-store.js";
import type { Place, ShardIndex } from "./unpack.js";

export interface WebDatasetOptions extends Pick<ShardStoreOptions, "folder" | "maxBytes" | "signal"> {
  /** Paths and URLs of tar files, in the order of their rows. */
  shards: readonly string[];
  columns: EditColumns;
  /** Whether rows come with the text of other parts too. */
  otherColumns: boolean;
  select: RowSelector;
  /** Called with the number of shards that have been read. */
  onShards?: ((done: number, total: number) => void) | undefined;
}

type Sample = ShardIndex["samples"][number];

/** The text of a sample in one piece of JSON. */
const RECORD = "json";

/**
 * Opens tar shards laid out for WebDataset (https://github.com/webdataset/webdataset): members with the same name up to
 * the first dot are a sample. A column is the part of its name, with any ending (`000.input_image.jpg`,
 * `000.edit_prompt.txt`), or a key of the sample's `.json`. Each shard is read in whole when a row of it is needed, from disk or over
 * http(s), and rows say which shard they are of, so that an order can go through the shards one after the other.
 *
 * @throws `ERR_DATASET` naming the shard and the member at fault; `ERR_FILE_NOT_FOUND`, `ERR_DOWNLOAD`, `ERR_IO`, `ERR_ABORTED`
 */
export async function openWebDataset(options: WebDatasetOptions): Promise<EditDataset> {
  const { columns, otherColumns, select, signal, onShards } = options;
  const shards = options.shards.map(shardAt);
  const store = new ShardStore(options);
  try {
    const content = createHash("sha256").update(JSON.stringify(columns));
    const times = createHash("sha256");
    const starts: number[] = [];
    let length = 0;
    for (const [i, shard] of shards.entries()) {
      throwIfAborted(signal);
      const { samples, hash } = await store.index(shard);
      starts.push(length);
      length += samples.length;
      content.update(`${samples.length} ${hash}\n`);
      times.update(`${typeof shard.source === "string" ? (await stat(shard.source)).mtimeMs : shard.source.href}\n`);
      onShards?.(i + 1, shards.length);
    }
    const where = shards.length === 1 ? `shard ${shards[0]!.name}` : `${shards[0]!.name} and further shards`;
    if (length === 0) throw datasetError(`${where}: there are no samples`);
    const shardOf = (index: number) => {
      let low = 0;
      for (let high = starts.length - 1; low < high; ) {
        const middle = Math.ceil((low + high) / 2);
        if (starts[middle]! <= index) low = middle;
        else high = middle - 1;
      }
      return low;
    };
    const first = await firstSample(shards, store);
    const names = await columnsOf(first, store);
    for (const role of ["original", "edited", "prompt"] as const)
      if (!names.includes(columns[role]) && !(columns[role].toLowerCase() in first.sample.parts))
        throw missingColumn(role, columns[role], names, where);
    const used = new Set(Object.values(columns));
    const others = otherColumns
      ? names.filter((name) => !used.has(name) && partNamed(first.sample, name, isPicture) === undefined)
      : [];

    const selected = await select(length);
    if (selected) content.update(new Uint8Array(selected.buffer, selected.byteOffset, selected.byteLength));
    const fingerprint = content.digest("hex");
    const keys = new Map<number, string>();
    const row = async (index: number) => {
      if (!(index >= 0 && index < length)) throw new RangeError(`there is no row ${index}`);
      const at = shardOf(index);
      const shard = shards[at]!;
      const sample = (await store.index(shard)).samples[index - starts[at]!]!;
      keys.set(index, sample.key);
      const read = (place: Place) => store.read(shard, place);
      const texts = new Texts(sample, read);
      const picture = async (column: string): Promise<StoredPicture> => {
        const place = partNamed(sample, column, isPicture) ?? sample.parts[column];
        if (!place) throw datasetError(`has no ${column}`);
        return { bytes: await read(place), name: `the image in ${column}` };
      };
      return {
        original: await picture(columns.original),
        edited: await picture(columns.edited),
        prompt: await texts.of(columns.prompt),
        texts: await texts.all(others),
      };
    };
    const dataset: EditDataset = {
      length,
      columns: names,
      textColumns: others,
      fingerprint,
      stamp: times.update(fingerprint).digest("hex"),
      row,
      group: shardOf,
      describe: (index) => {
        const at = shardOf(index);
        const key = keys.get(index);
        return `${shards[at]!.name}, ${key === undefined ? `sample ${index - starts[at]!}` : `sample ${quote(key)}`}`;
      },
      close: () => store.close(),
    };
    return selected ? selectRows(dataset, selected) : dataset;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Texts of a sample, from parts of their own or from its JSON. */
class Texts {
  readonly #sample: Sample;
  readonly #read: (place: Place) => Promise<Buffer>;
  #record: Promise<Record<string, unknown>> | undefined;

  constructor(sample: Sample, read: (place: Place) => Promise<Buffer>) {
    this.#sample = sample;
    this.#read = read;
  }

  /** Null where there is none. @throws `ERR_DATASET` for what is no text */
  async of(column: string): Promise<string | null> {
    const place = partNamed(this.#sample, column, (ending) => ending === "txt") ?? this.#sample.parts[column];
    if (place) return (await this.#read(place)).toString().replace(/\r?\n$/, "");
    this.#record ??= this.#readRecord();
    const value = Object.hasOwn(await this.#record, column) ? (await this.#record)[column] : undefined;
    if (value === undefined || value === null) return null;
    if (typeof value === "object") throw datasetError(`${column} is not text`);
    return String(value);
  }

  async all(columns: readonly string[]): Promise<Record<string, string | null>> {
    const texts: Record<string, string | null> = {};
    for (const column of columns) texts[column] = await this.of(column);
    return texts;
  }

  async #readRecord(): Promise<Record<string, unknown>> {
    const place = this.#sample.parts[RECORD];
    if (!place) return {};
    return parseRecord(await this.#read(place));
  }
}

function parseRecord(bytes: Buffer): Record<string, unknown> {
  let record: unknown;
  try {
    record = JSON.parse(bytes.toString());
  } catch (error) {
    throw datasetError(`its ${RECORD} is malformed`, error);
  }
  if (typeof record !== "object" || record === null || Array.isArray(record))
    throw datasetError(`its ${RECORD} is no object`);
  return record as Record<string, unknown>;
}

const PICTURES = /^(?:png|jpe?g|webp|gif|tiff?|avif|bmp|ppm)$/;
const isPicture = (ending: string) => PICTURES.test(ending);

/** The part of a column: its name with one of the endings. */
function partNamed({ parts }: Sample, column: string, isEnding: (ending: string) => boolean): Place | undefined {
  const wanted = column.toLowerCase();
  for (const [part, place] of Object.entries(parts)) {
    const dot = part.lastIndexOf(".");
    if (dot > 0 && part.slice(0, dot) === wanted && isEnding(part.slice(dot + 1))) return place;
  }
  return undefined;
}

async function firstSample(shards: readonly Shard[], store: ShardStore): Promise<{ shard: Shard; sample: Sample }> {
  for (const shard of shards) {
    const [sample] = (await store.index(shard)).samples;
    if (sample) return { shard, sample };
  }
  throw new RangeError("there are no samples");
}

/** The names by which parts of a sample can be asked for. */
async function columnsOf({ shard, sample }: { shard: Shard; sample: Sample }, store: ShardStore): Promise<string[]> {
  const names = new Set<string>();
  for (const [part, place] of Object.entries(sample.parts)) {
    const dot = part.lastIndexOf(".");
    const ending = part.slice(dot + 1);
    if (part === RECORD) for (const name of Object.keys(parseRecord(await store.read(shard, place)))) names.add(name);
    else names.add(dot > 0 && (isPicture(ending) || ending === "txt") ? part.slice(0, dot) : part);
  }
  return [...names];
}
