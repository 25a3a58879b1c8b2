import type { FastifyReply, FastifyRequest } from "fastify";
import type { Access } from "./access/access.js";
import type { Rates } from "./access/rates.js";
import { HttpError } from "./errors.js";
import type { Metrics } from "./metrics.js";
import type { ServerSettings } from "./options.js";
import type { BoundedQueue } from "./queue.js";

/** Milliseconds after the end of the grace period at which connections are cut that still upload. */
const CUT = 1000;

interface Surroundings {
  settings: ServerSettings;
  access: Pick<Access, "limitsOf">;
  queue: BoundedQueue;
  rates: Rates;
  metrics: Metrics;
}

/** The status that is counted and logged for a client that went away. */
export const CLIENT_GONE = 499;

/**
 * The requests for images that are in progress: each holds a place from before its body is read until its response is
 * sent, its time is over, or its client has disconnected.
 */
export class RequestLives {
  readonly #surroundings: Surroundings;
  readonly #cancellations = new Map<FastifyRequest, AbortController>();
  /** Those whose body has not arrived yet. */
  readonly #receiving = new WeakSet<FastifyRequest>();

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /** Whether the request's body has not arrived yet. */
  isReceiving(request: FastifyRequest): boolean {
    return this.#receiving.has(request);
  }

  received(request: FastifyRequest): void {
    this.#receiving.delete(request);
  }

  /** Fires when the request is to end early; undefined if its client has disconnected already. */
  signalOf(request: FastifyRequest): AbortSignal | undefined {
    return this.#cancellations.get(request)?.signal;
  }

  /** Ends a request early, with an error; nothing if it has ended. */
  abort(request: FastifyRequest, error: HttpError): void {
    this.#cancellations.get(request)?.abort(error);
  }

  /**
   * Begins a request, before its body is read: one that is rejected costs no memory.
   *
   * @param client the one that it counts for
   * @param ended told how it ended
   * @throws as `Rates.take` and `BoundedQueue.enter`
   */
  begin(request: FastifyRequest, reply: FastifyReply, client: string, ended: (status: number) => void): void {
    const { settings, access, queue, rates, metrics } = this.#surroundings;
    const { socket } = request.raw;
    // For Node.js, a response whose connection broke is finished too.
    const arrived = () => reply.raw.writableFinished && (!socket.destroyed || socket.writableFinished);
    reply.raw.once("close", () => {
      const status = arrived() ? reply.statusCode : CLIENT_GONE;
      metrics.responses.inc({ status });
      ended(status);
    });
    const { places, requestsPerMinute = settings.requestsPerMinute } = access.limitsOf(client);
    rates.take(client, requestsPerMinute);
    const leave = queue.enter(client, places);
    const cancellation = new AbortController();
    this.#cancellations.set(request, cancellation);
    this.#receiving.add(request);
    const { bodyTimeout, timeout } = settings;
    const deadlines = [
      setTimeout(() => this.#giveUp(request, reply, 504, `the request took longer than ${timeout} s`), timeout * 1000),
      setTimeout(() => {
        if (this.isReceiving(request))
          this.#giveUp(request, reply, 408, `the body took longer than ${bodyTimeout} s to come`);
      }, bodyTimeout * 1000),
    ];
    reply.raw.once("close", () => {
      deadlines.forEach(clearTimeout);
      this.#cancellations.delete(request);
      leave();
      // The client went away: the run stops within a step; a waiting request leaves the queue.
      if (!arrived()) cancellation.abort(new HttpError(CLIENT_GONE, "ERR_CLIENT_GONE", "the client went away"));
    });
  }

  /** Ends a request that takes too long, in any state. */
  #giveUp(request: FastifyRequest, reply: FastifyReply, status: number, message: string): void {
    const error = new HttpError(status, "ERR_TIMEOUT", message);
    // A response is being sent, but the client does not read it.
    if (reply.sent && reply.raw.writableEnded) reply.raw.destroy();
    // Nothing listens to the signal yet. The rest of the body is not awaited.
    else if (this.isReceiving(request)) reply.header("connection", "close").send(error);
    else this.#cancellations.get(request)?.abort(error);
  }

  /** Lets the requests in progress finish, and aborts the rest when the grace period ends. */
  drain(closeConnections: () => void): { stop(): void } {
    const over = setTimeout(() => {
      for (const cancellation of this.#cancellations.values())
        cancellation.abort(new HttpError(503, "ERR_STOPPING", "the server is stopping", { retryAfter: 10 }));
      // Ends uploads too, which nothing else stops.
      setTimeout(closeConnections, CUT).unref();
    }, this.#surroundings.settings.grace * 1000);
    return { stop: () => clearTimeout(over) };
  }
}
