import { type FileHandle, mkdir, open } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Encoded } from "../protobuf.js";
import { crc32c } from "./crc32c.js";
import { versionEvent } from "./summary.js";

/** Counter of opened files, for unique names within a second. */
let opened = 0;

/** An event file of TensorBoard: a sequence of `Event` messages as TFRecords. */
export class EventFile {
  readonly path: string;
  readonly #file: FileHandle;
  /** Bytes of whole records. */
  #size = 0;

  private constructor(path: string, file: FileHandle) {
    this.path = path;
    this.#file = file;
  }

  /** Creates a file, and its folder if necessary; names sort by time. */
  static async create(folder: string): Promise<EventFile> {
    await mkdir(folder, { recursive: true });
    const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, "0");
    const host = hostname().replace(/[^\w.-]/g, "_") || "localhost";
    const path = join(folder, `events.out.tfevents.${seconds}.${host}.${process.pid}.${opened++}`);
    const file = new EventFile(path, await open(path, "ax"));
    await file.write([versionEvent(Date.now() / 1000)]);
    return file;
  }

  /**
   * Appends events by a single write: a killed process leaves at most a broken last one, which readers skip. If the
   * write fails, the file is truncated to its previous end, since readers skip broken data only at the end.
   */
  async write(events: readonly Encoded[]): Promise<void> {
    const records = Buffer.concat(events.flatMap(tfRecord));
    try {
      await this.#file.writeFile(records);
    } catch (error) {
      await this.#file.truncate(this.#size).catch(() => {});
      throw error;
    }
    this.#size += records.length;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/**
 * The framing of TFRecord files: length as uint64, its checksum, the data, their checksum; little-endian, checksums are
 * CRC-32C, masked so that those of data that hold checksums are sound too.
 */
function tfRecord(data: Encoded): Uint8Array[] {
  const header = Buffer.alloc(12);
  header.writeBigUInt64LE(BigInt(data.length));
  header.writeUInt32LE(masked(crc32c(header.subarray(0, 8))), 8);
  const footer = Buffer.alloc(4);
  footer.writeUInt32LE(masked(crc32c(data)));
  return [header, data, footer];
}

function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
