import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CompressionCodec } from "hyparquet";
import { compressors as packaged } from "hyparquet-compressors";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { readMetadata } from "../../lib/data/metadata/read.js";
import { compressors } from "../../lib/data/parquet/compressors.js";
import { openParquet } from "../../lib/data/parquet/file.js";
import { useScratch } from "./helpers.js";

const scratch = useScratch();
const refusal = (message: RegExp) =>
  expect.objectContaining({ code: "ERR_DATASET", message: expect.stringMatching(message) });

/** A whole number in Thrift's compact protocol. */
function varint(number: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(number) * 2n;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

async function read(content: Buffer): Promise<number> {
  const path = join(await scratch.folder({}), "metadata.parquet");
  await writeFile(path, content);
  let rows = 0;
  for await (const slice of readMetadata(path, ["a"])) rows += slice.length;
  return rows;
}

/** A file with one page of about 1 MiB, and the places of the numbers that say so. */
async function onePage() {
  const columnData = [{ name: "a", data: ["x".repeat(1 << 20)], nullable: false }];
  const bytes = Buffer.from(parquetWriteBuffer({ columnData, statistics: false }));
  const path = join(await scratch.folder({ "a.parquet": bytes }), "a.parquet");
  const { metadata, close } = await openParquet(path);
  await close();
  const { data_page_offset, total_uncompressed_size, num_values } = metadata.row_groups[0]!.columns[0]!.meta_data!;
  const page = Number(data_page_offset);
  const footer = bytes.length - 8 - metadata.metadata_length;
  return {
    bytes,
    /** After the page's type, and before its other size and a structure with the number of its values. */
    pageSize: page + 3,
    footerSize: bytes.indexOf(varint(Number(total_uncompressed_size)), footer),
    values: bytes.indexOf(Buffer.concat([Buffer.of(0x5c, 0x15), varint(Number(num_values))]), page) + 2,
  };
}

/** As many bytes as the numbers of {@link onePage} take. */
const HUGE = 2 ** 27 - 1;

describe("what pages claim to hold", () => {
  test("is not more than the footer says", async () => {
    const { bytes, pageSize, values } = await onePage();
    expect(await read(bytes)).toBe(1);
    const larger = Buffer.from(bytes);
    varint(HUGE).copy(larger, pageSize);
    await expect(read(larger)).rejects.toEqual(refusal(/pages of a column claim 134217727 bytes, its footer 10\d+$/));
    const more = Buffer.from(bytes);
    varint(63).copy(more, values);
    await expect(read(more)).rejects.toEqual(refusal(/pages of a column claim 63 values, its footer 1$/));
  });

  test("is not more than their compression can express, whatever the footer says", async () => {
    const { bytes, pageSize, footerSize } = await onePage();
    varint(HUGE - 100).copy(bytes, pageSize);
    varint(HUGE).copy(bytes, footerSize);
    await expect(read(bytes)).rejects.toEqual(
      refusal(/a page of \d+ bytes claims to hold 1342176\d\d, which SNAPPY cannot express$/),
    );
  });

  test.each(Object.keys(packaged) as CompressionCodec[])("has a limit with %s", (codec) => {
    const decompress = compressors[codec]!;
    for (const length of [2 ** 31 - 1, -1, Number.NaN])
      expect(() => decompress(new Uint8Array(codec === "BROTLI" ? 100 : 1000), length)).toThrow(/cannot express/);
    expect(decompress(new Uint8Array(0), 0)).toEqual(new Uint8Array(0));
  });
});

describe("frames of Zstandard", () => {
  const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
  const block = (type: number, size: number, content: number[], last: boolean) => {
    const head = (size << 3) | (type << 1) | Number(last);
    return [head & 255, (head >> 8) & 255, head >> 16, ...content];
  };
  const raw = (...content: number[]) => block(0, content.length, content, true);
  const zstd = (bytes: number[], length: number) => compressors.ZSTD!(Uint8Array.from(bytes), length);
  const FILL = Array.from({ length: 100_000 }, () => 0);
  /** Eight bytes of content size, one segment. */
  const sized = (size: number) => [...MAGIC, 0xe0, ...new Uint8Array(new BigUint64Array([BigInt(size)]).buffer)];
  /** Content of unknown size, with a window of 2^(10 + exponent) bytes. */
  const windowed = (exponent: number) => [...MAGIC, 0, exponent << 3];

  test("are read one after the other, others skipped", () => {
    const skipped = [0x55, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
    const frames = [...sized(3), ...raw(1, 2, 3), ...skipped, ...windowed(1), ...raw(4, 5, 6, 7, 8, 9)];
    expect([...zstd(frames, 9)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  /** A compressed block of one repeated byte, without sequences: eight bytes for up to 128 KiB. */
  const repeated = (byte: number, count: number, last: boolean) =>
    block(2, 5, [13 | ((count & 15) << 4), (count >> 4) & 255, count >> 12, byte, 0], last);

  test("of unknown size hold several compressed blocks, with or without a checksum", () => {
    const blocks = [...repeated(7, 5000, false), ...repeated(8, 70_000, true)];
    const frames = [...windowed(7), ...blocks, ...MAGIC, 4, 7 << 3, ...blocks, 1, 2, 3, 4];
    const content = Buffer.concat([Buffer.alloc(5000, 7), Buffer.alloc(70_000, 8)]);
    expect(Buffer.compare(zstd(frames, 150_000), Buffer.concat([content, content]))).toBe(0);
  });

  test("of unknown size are decoded no further than the page", () => {
    // As a whole 6 GiB.
    const blocks = Buffer.alloc(8 * 50_000, Buffer.from(repeated(7, 2 ** 17, false)));
    for (const end of [repeated(7, 1, true), []]) {
      const frame = Buffer.concat([Buffer.from(windowed(7)), blocks, Buffer.from(end)]);
      expect(() => compressors.ZSTD!(frame, 2 ** 20)).toThrow(/holds more/);
    }
  });

  test.each([
    ["declare more than the page", [...sized(2 ** 30), ...raw(1)], /holds more/],
    ["declare more only later", [...sized(3), ...raw(1, 2, 3), ...sized(2 ** 30), ...raw(1)], /holds more/],
    ["need a huge window", [...windowed(20), ...raw(1, 2, 3)], /a window of 1073741824 bytes/],
    [
      "repeat a byte more often",
      [...windowed(7), ...Array.from({ length: 1000 }, (_, i) => block(1, 2 ** 17, [7], i === 999)).flat()],
      /holds more/,
    ],
  ])("that %s are refused before they take that memory", (_, frames, message) => {
    expect(() => zstd([...frames, ...FILL], 1000)).toThrow(message);
  });
});
