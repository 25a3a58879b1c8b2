import { Readable } from "node:stream";

/** A body that is too large for memory. */
export interface StreamedBody {
  /** Bytes; servers of storage want to know it beforehand. */
  readonly size: number;
  /** The content in pieces, from the start each time. */
  chunks(): AsyncIterable<Uint8Array>;
}

export type RequestBody = string | Uint8Array | StreamedBody;

/** Counts the bytes of a streamed body over all attempts to send it. */
export class SentBytes {
  readonly #tell: (bytes: number) => void;
  #attempt = 0;
  #bytes = 0;

  /** @param tell called with the bytes sent; negative for bytes that have to be sent again */
  constructor(tell: (bytes: number) => void = () => {}) {
    this.#tell = tell;
  }

  /** The body as a stream, to be sent from its start. */
  stream(body: StreamedBody): Readable {
    this.takeBack();
    return Readable.from(this.#counted(body, this.#attempt), { objectMode: false });
  }

  /** The attempt failed: all its bytes have to be sent again. */
  takeBack(): void {
    // Chunks of a failed attempt may still come: they no longer count.
    this.#attempt++;
    if (this.#bytes > 0) this.#tell(-this.#bytes);
    this.#bytes = 0;
  }

  async *#counted(body: StreamedBody, attempt: number) {
    for await (const chunk of body.chunks()) {
      yield chunk;
      if (attempt !== this.#attempt) continue;
      this.#bytes += chunk.length;
      this.#tell(chunk.length);
    }
  }
}
