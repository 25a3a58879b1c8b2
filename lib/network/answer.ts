import { pipeline } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import type { Dispatcher } from "undici";
import { failureName } from "./failure.js";
import { HttpError } from "./http-error.js";
import { undici } from "./undici.js";

const DECOMPRESSORS: Readonly<Record<string, () => NodeJS.ReadWriteStream>> = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};
/** Bytes of an unwanted body that are taken so that the connection can be used again. */
const MAX_DISCARDED = 16_384;

/** The answer of a server. Its body must be read or discarded. */
export class Answer {
  /** The address that answered, after redirects. */
  readonly url: URL;
  readonly status: number;
  readonly headers = new (undici().Headers)();
  /** The body, once it is read. */
  bytes: Buffer = Buffer.alloc(0);
  readonly #body: Dispatcher.ResponseData["body"];
  readonly #encoding: string;

  constructor(url: URL, { statusCode, headers, body }: Dispatcher.ResponseData) {
    this.url = url;
    this.status = statusCode;
    for (const [name, value] of Object.entries(headers))
      for (const one of [value ?? []].flat()) this.headers.append(name, one);
    this.#encoding = this.headers.get("content-encoding")?.toLowerCase() || "identity";
    // Whoever reads is told; a failure when nobody reads any more must not end the process.
    this.#body = body.on("error", () => {});
  }

  /** Bytes that are announced, unless the body is compressed. */
  get length(): number | undefined {
    const length = this.headers.get("content-length");
    return length === null || this.#encoding !== "identity" ? undefined : Number(length);
  }

  /**
   * The body in pieces, decompressed.
   *
   * @throws {@link HttpError} "encoding", "unreachable"
   */
  async *pieces(): AsyncGenerator<Uint8Array, void, undefined> {
    const decompressor = DECOMPRESSORS[this.#encoding];
    if (!decompressor && this.#encoding !== "identity") {
      const name = this.#encoding.slice(0, 40);
      throw new HttpError("encoding", this, `the server sent it in an encoding that was not asked for (${name})`);
    }
    try {
      const body: NodeJS.ReadableStream = decompressor ? pipeline(this.#body, decompressor(), () => {}) : this.#body;
      yield* body as AsyncIterable<Buffer>;
    } catch (error) {
      throw new HttpError("unreachable", this.url, `the answer broke off (${failureName(error)})`, { cause: error });
    }
  }

  /**
   * Reads the body into `bytes`. Whoever sends it may announce less than it has, or nothing.
   *
   * @throws {@link HttpError} "size" for more than `maxBytes`, "encoding", "unreachable"
   */
  async read(maxBytes: number): Promise<void> {
    const { length: announced = 0 } = this;
    if (announced > maxBytes)
      throw new HttpError("size", this, `it has ${announced} bytes, more than the limit of ${maxBytes}`);
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.pieces()) {
      length += chunk.length;
      if (length > maxBytes) throw new HttpError("size", this, `it has more bytes than the limit of ${maxBytes}`);
      chunks.push(chunk);
    }
    this.bytes = Buffer.concat(chunks, length);
  }

  /** Gives up what is not read: a short rest is taken in the background, for a long one the connection is closed. */
  discard(): void {
    void this.#body.dump({ limit: MAX_DISCARDED });
  }
}
