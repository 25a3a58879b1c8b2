import { type FileHandle, open } from "node:fs/promises";
import type { SchemaElement } from "hyparquet";
import { ByteWriter, type ColumnSource, ParquetWriter } from "hyparquet-writer";
import { COLUMNS, type EditRow, pictureName } from "./edit-writer.js";

/**
 * One parquet file of edits. Images are structs of their bytes and a name, and the metadata tell the `datasets` library
 * that they are images. Nothing is compressed: image files are already, and readers can access them in place.
 */
export class ParquetShard implements AsyncDisposable {
  readonly path: string;
  readonly #texts: readonly string[];
  readonly #sink: FileSink;
  readonly #writer: ParquetWriter;

  private constructor(path: string, texts: readonly string[], file: FileHandle) {
    this.path = path;
    this.#texts = texts;
    this.#sink = new FileSink(file);
    this.#writer = new ParquetWriter({
      writer: this.#sink,
      schema: schemaOf(texts),
      codec: "UNCOMPRESSED",
      kvMetadata: [{ key: "huggingface", value: JSON.stringify({ info: { features: featuresOf(texts) } }) }],
      createdBy: "instruct-pix2pix",
    });
  }

  /** @param texts the columns besides the images and their prompt */
  static async create(path: string, texts: readonly string[]): Promise<ParquetShard> {
    return new ParquetShard(path, texts, await open(path, "wx"));
  }

  /** What was written so far. */
  get bytes(): number {
    return this.#sink.offset;
  }

  /**
   * Writes a row group.
   *
   * @param first the number of the first row, for the images' names
   */
  async write(rows: readonly EditRow[], first: number): Promise<void> {
    const pictures = (side: "before" | "after"): ColumnSource => ({
      name: COLUMNS[side],
      data: rows.map((row, i) => ({ bytes: row[side], path: pictureName(first + i, side, row[side]) })),
      encoding: "PLAIN",
      statistics: false,
    });
    const texts = this.#texts.map((name) => ({ name, data: rows.map((row) => row.texts[name]) }));
    await this.#writer.write({
      columnData: [
        pictures("before"),
        { name: COLUMNS.prompt, data: rows.map(({ prompt }) => prompt) },
        pictures("after"),
        ...texts,
      ],
      rowGroupSize: rows.length,
    });
  }

  async finish(): Promise<void> {
    await this.#writer.finish();
    await this.#sink.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sink.close();
  }
}

function schemaOf(texts: readonly string[]): SchemaElement[] {
  const text = (name: string): SchemaElement => ({
    name,
    type: "BYTE_ARRAY",
    converted_type: "UTF8",
    repetition_type: "OPTIONAL",
  });
  const picture = (name: string): SchemaElement[] => [
    { name, num_children: 2, repetition_type: "OPTIONAL" },
    { name: "bytes", type: "BYTE_ARRAY", repetition_type: "OPTIONAL" },
    text("path"),
  ];
  return [
    { name: "schema", num_children: 3 + texts.length },
    ...picture(COLUMNS.before),
    text(COLUMNS.prompt),
    ...picture(COLUMNS.after),
    ...texts.map(text),
  ];
}

/** The columns as `datasets` features. */
function featuresOf(texts: readonly string[]): Record<string, object> {
  const text = { dtype: "string", _type: "Value" };
  const picture = { _type: "Image" };
  return {
    [COLUMNS.before]: picture,
    [COLUMNS.prompt]: text,
    [COLUMNS.after]: picture,
    ...Object.fromEntries(texts.map((name) => [name, text])),
  };
}

/** Buffers bytes in memory and writes them to a file after every row group. */
class FileSink extends ByteWriter {
  readonly #file: FileHandle;
  #open = true;

  constructor(file: FileHandle) {
    super(1 << 20);
    this.#file = file;
  }

  async flush(): Promise<void> {
    await this.#file.writeFile(this.getBytes());
    this.index = 0;
  }

  override async finish(): Promise<void> {
    await this.flush();
    await this.#file.sync();
  }

  async close(): Promise<void> {
    if (this.#open) await this.#file.close();
    this.#open = false;
  }
}
