import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";

/** Server-sent events as the answer to a request, which begin with the first one. */
export class EventStream {
  readonly #reply: FastifyReply;

  constructor(reply: FastifyReply) {
    this.#reply = reply;
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
