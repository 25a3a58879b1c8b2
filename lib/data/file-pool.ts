import { type FileHandle, open } from "node:fs/promises";

interface Entry {
  readonly handle: Promise<FileHandle>;
  readers: number;
}

/** A pool of open files for random access; only a limited number are open at a time. */
export class FilePool {
  readonly #limit: number;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();

  constructor(limit = 64) {
    this.#limit = limit;
  }

  /** Reads exactly so many bytes; what Node's file functions throw, and an error for a file that is too short. */
  async read(path: string, offset: number, length: number): Promise<Buffer> {
    const entry = this.#entries.get(path) ?? { handle: open(path), readers: 0 };
    this.#entries.delete(path);
    this.#entries.set(path, entry);
    entry.readers++;
    try {
      const handle = await entry.handle;
      const bytes = Buffer.allocUnsafeSlow(length);
      for (let at = 0; at < length; ) {
        const { bytesRead } = await handle.read(bytes, at, length - at, offset + at);
        if (bytesRead === 0) throw new Error(`${path} ends too early`);
        at += bytesRead;
      }
      return bytes;
    } catch (error) {
      // A file that could not be opened is retried next time.
      if ((await entry.handle.catch(() => undefined)) === undefined && this.#entries.get(path) === entry)
        this.#entries.delete(path);
      throw error;
    } finally {
      entry.readers--;
      await this.#trim();
    }
  }

  async #trim(): Promise<void> {
    for (const [path, entry] of this.#entries) {
      if (this.#entries.size <= this.#limit) return;
      if (entry.readers > 0) continue;
      this.#entries.delete(path);
      await (await entry.handle).close();
    }
  }

  /** Closes all files. A later read opens its file again. */
  async close(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const { handle } of entries) await (await handle.catch(() => undefined))?.close();
  }
}
