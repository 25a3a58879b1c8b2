import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { InstructPix2PixError } from "../core/errors.js";

/** A file to upload. */
export interface UploadFile {
  /** Its name in the repository. */
  readonly name: string;
  /** Its local path. */
  readonly path: string;
}

/** Small enough that hashing a chunk does not block the event loop noticeably. */
const CHUNK_BYTES = 1 << 16;

/** Observes reading. */
export interface ReadingObserver {
  /** Called when more was read. */
  read(): void;
  failed(error: unknown): void;
}

/**
 * A file, or a part of one, as a `Blob` that is read lazily in pieces. The hub's client may lose a read error or hang
 * on it, so errors are also reported to an observer.
 */
export class FileContent extends Blob {
  override readonly size: number;
  readonly #path: string;
  readonly #start: number;
  readonly #end: number;
  readonly #observer: ReadingObserver;

  private constructor(path: string, start: number, end: number, observer: ReadingObserver) {
    super([]);
    this.size = end - start;
    this.#path = path;
    this.#start = start;
    this.#end = end;
    this.#observer = observer;
  }

  /** @throws `ERR_IO` */
  static async open(path: string, observer: ReadingObserver): Promise<FileContent> {
    const { size } = await stat(path).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    return new FileContent(path, 0, size, observer);
  }

  override slice(start = 0, end = this.size): FileContent {
    const within = (offset: number) => Math.min(Math.max(this.#start + offset, this.#start), this.#end);
    return new FileContent(this.#path, within(start), Math.max(within(start), within(end)), this.#observer);
  }

  /** The content in pieces, from the start each time. */
  async *chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    if (this.size === 0) return;
    try {
      let length = 0;
      const range = { start: this.#start, end: this.#end - 1, highWaterMark: CHUNK_BYTES };
      for await (const chunk of createReadStream(this.#path, range)) {
        length += (chunk as Buffer<ArrayBuffer>).length;
        this.#observer.read();
        yield chunk as Buffer<ArrayBuffer>;
      }
      if (length < this.size) throw new Error("it became shorter");
    } catch (error) {
      const failure = unreadable(this.#path, error);
      this.#observer.failed(failure);
      throw failure;
    }
  }

  override stream(): ReturnType<Blob["stream"]> {
    return ReadableStream.from(this.chunks()) as ReturnType<Blob["stream"]>;
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    const bytes = new Uint8Array(this.size);
    let at = 0;
    for await (const chunk of this.chunks()) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes.buffer;
  }

  override async text(): Promise<string> {
    return Buffer.from(await this.arrayBuffer()).toString("utf8");
  }
}

function unreadable(path: string, error: unknown): InstructPix2PixError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new InstructPix2PixError("ERR_IO", `${path}: cannot be read (${code ?? message})`, { cause: error });
}
