import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";

/** Milliseconds in which a last event may still arrive. */
const CUT = 1000;

/** Server-sent events as the answer to a request, which begin with the first one. */
export class EventStream {
  readonly #reply: FastifyReply;

  /** @param signal cuts the connection a moment after it fires, in case the client does not read */
  constructor(reply: FastifyReply, signal: AbortSignal) {
    this.#reply = reply;
    const cut = () => void setTimeout(() => this.begun && reply.raw.destroy(), CUT).unref();
    signal.addEventListener("abort", cut, { once: true });
  }

  get begun(): boolean {
    return this.#reply.raw.headersSent;
  }

  /** Sends an event, and waits while the client reads slower than events come. */
  async send(type: string, data: object): Promise<void> {
    const { raw } = this.#reply;
    if (!this.begun) this.#begin(raw);
    if (raw.destroyed) return;
    if (raw.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        raw.off("drain", done).off("close", done);
        resolve();
      };
      raw.once("drain", done).once("close", done);
    });
  }

  /** Sends an event that may be lost: not to a client that still has others to read. */
  tell(type: string, data: object): void {
    if (!this.#reply.raw.writableNeedDrain) void this.send(type, data);
  }

  end(): void {
    if (!this.#reply.raw.destroyed) this.#reply.raw.end();
  }

  #begin(raw: ServerResponse): void {
    this.#reply.hijack();
    raw.writeHead(200, {
      ...(this.#reply.getHeaders() as Record<string, string>),
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // Asks proxies such as nginx not to hold events back.
      "x-accel-buffering": "no",
    });
  }
}
