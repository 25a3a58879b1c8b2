import { pipeline, type Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { type Dispatcher, Headers } from "undici";
import { type AnswerHead, HttpError } from "./http-error.js";

/** Bytes of an unwanted body that are taken so that the connection can be used again. */
const MAX_DISCARDED = 16_384;

/** An answer whose body is not read yet. It must be read or discarded. */
export class Answer implements AnswerHead {
  readonly url: URL;
  readonly status: number;
  readonly headers = new Headers();
  readonly #body: Dispatcher.ResponseData["body"];

  constructor(url: URL, { statusCode, headers, body }: Dispatcher.ResponseData) {
    this.url = url;
    this.status = statusCode;
    for (const [name, value] of Object.entries(headers))
      for (const one of [value ?? []].flat()) this.headers.append(name, one);
    // Reported to whoever reads; a body that nobody reads any more must not end the process.
    this.#body = body.on("error", () => {});
  }

  /** Bytes of the body that are announced, unless it is compressed. */
  get length(): number | undefined {
    return this.#encoding === "identity" ? this.#announced : undefined;
  }

  get #announced(): number | undefined {
    const length = this.headers.get("content-length");
    return length === null ? undefined : Number(length);
  }

  get #encoding(): string {
    return this.headers.get("content-encoding")?.toLowerCase() || "identity";
  }

  /**
   * The body, decompressed.
   *
   * @throws {@link HttpError} "encoding", "unreachable"
   */
  async *content(): AsyncGenerator<Uint8Array, void, undefined> {
    const body = this.#decompressed();
    try {
      yield* body as AsyncIterable<Uint8Array>;
    } catch (error) {
      throw HttpError.unreachable(this.url, "the answer broke off", error);
    }
  }

  /**
   * The whole body. Whoever sends it may announce less than it has, or nothing.
   *
   * @throws {@link HttpError} "size" for more than `maxBytes` after decompression, "encoding", "unreachable"
   */
  async bytes(maxBytes: number): Promise<Buffer> {
    const announced = this.#announced ?? 0;
    if (announced > maxBytes) {
      this.discard();
      throw new HttpError("size", this.url, `it has ${announced} bytes, more than the limit of ${maxBytes}`);
    }
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.content()) {
      length += chunk.length;
      if (length > maxBytes) throw new HttpError("size", this.url, `it has more bytes than the limit of ${maxBytes}`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks, length);
  }

  /** Gives the body up: a short one in the background, otherwise the connection is closed. */
  discard(): void {
    void this.#body.dump({ limit: MAX_DISCARDED });
  }

  #decompressed(): Readable {
    switch (this.#encoding) {
      case "identity":
        return this.#body;
      case "gzip":
      case "x-gzip":
        return pipeline(this.#body, createGunzip(), () => {});
      case "deflate":
        return pipeline(this.#body, createInflate(), () => {});
      case "br":
        return pipeline(this.#body, createBrotliDecompress(), () => {});
      default: {
        const encoding = this.#encoding.slice(0, 40);
        this.discard();
        throw new HttpError(
          "encoding",
          this.url,
          `the server sent it in an encoding that was not asked for (${encoding})`,
        );
      }
    }
  }
}
