import multipart from "@fastify/multipart";
import fastify, { LogController } from "fastify";
import { decodesInProgress, isInstructPix2PixError } from "instruct-pix2pix";
import { clientOf } from "./clients.js";
import { editSchema, JSON_LIMIT, loadRequestImage } from "./edit-request.js";
import { describeError, HttpError } from "./errors.js";
import { createMetrics } from "./metrics.js";
import { BoundedQueue } from "./queue.js";

/**
 * The server's routes on a loaded pipeline.
 *
 * @param {import("instruct-pix2pix").InstructPix2PixPipeline} pipe
 * @param {import("./settings.js").Settings} settings
 * @param {import("./access.js").Access} access
 */
export function createApp(pipe, settings, access) {
  /** Number of requests whose picture is being decoded. */
  let reading = 0;
  // A decoder cannot be stopped at once: it may still run after its request has ended.
  const queue = new BoundedQueue(settings, () => Math.max(0, decodesInProgress() - reading));
  const metrics = createMetrics(queue);
  /** @type {Map<import("fastify").FastifyRequest, AbortController>} of every request in progress */
  const cancellations = new Map();
  /** @type {WeakSet<import("fastify").FastifyRequest>} those whose body has not arrived yet */
  const receiving = new WeakSet();
  let stopping = false;

  const app = fastify({
    logger: { level: process.env.LOG_LEVEL ?? "info" },
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: JSON_LIMIT,
    requestTimeout: settings.timeout * 1000,
    trustProxy: access.trustProxy,
    // An unknown (misspelt) option is rejected by name instead of being dropped.
    ajv: { customOptions: { removeAdditional: false } },
    schemaErrorFormatter: ([error], part) => {
      const { instancePath, message, params } = /** @type {NonNullable<typeof error>} */ (error);
      const name = instancePath.slice(1) || part;
      const extra = params.additionalProperty ? `: ${params.additionalProperty}` : "";
      return new HttpError(400, "ERR_INVALID_ARGUMENT", `${name} ${message}${extra}`);
    },
  });
  app.removeContentTypeParser("text/plain");
  app.register(multipart, {
    attachFieldsToBody: "keyValues",
    limits: { fileSize: settings.maxBytes, files: 1, fields: 20, fieldSize: 10_000, fieldNameSize: 100 },
  });

  app.setErrorHandler((error, request, reply) => {
    const { statusCode, code, message, retryAfter } = describeError(error, receiving.has(request));
    if (statusCode === 500) app.log.error(error);
    if (retryAfter !== undefined) reply.header("retry-after", retryAfter);
    reply.code(statusCode).send({ code, message });
  });
  app.addHook("onSend", async (_request, reply) => {
    if (stopping) reply.header("connection", "close");
  });

  app.addHook("onRequest", async (request) => {
    // Checked in this hook so that no body is read first.
    if (request.is404) throw new HttpError(404, "ERR_NOT_FOUND", "there is nothing here");
    // Load balancers' health probes send any Host.
    if (request.routeOptions.url !== "/health") access.checkHost(request);
  });

  app.get("/health", async () => ({ status: "ok" }));
  app.get("/metrics", {
    onRequest: async (request) => access.checkMetrics(request),
    handler: async (_request, reply) => {
      reply.type(metrics.registry.contentType);
      return metrics.registry.metrics();
    },
  });

  app.post("/edit", {
    schema: { body: editSchema(settings) },
    // Before the body is read: a request that is rejected costs no memory.
    onRequest: async (request, reply) => {
      const { socket } = request.raw;
      // For Node, a response whose connection broke is finished too.
      const arrived = () => reply.raw.writableFinished && (!socket.destroyed || socket.writableFinished);
      reply.raw.once("close", () => metrics.answers.inc({ status: arrived() ? reply.statusCode : 499 }));
      const leave = queue.enter(clientOf(request));
      const cancellation = new AbortController();
      cancellations.set(request, cancellation);
      receiving.add(request);
      const { bodyTimeout, timeout } = settings;
      const deadlines = [
        setTimeout(() => giveUp(request, reply, 504, `the edit took longer than ${timeout} s`), timeout * 1000),
        setTimeout(() => {
          if (receiving.has(request)) giveUp(request, reply, 408, `the body took longer than ${bodyTimeout} s to come`);
        }, bodyTimeout * 1000),
      ];
      reply.raw.once("close", () => {
        deadlines.forEach(clearTimeout);
        cancellations.delete(request);
        leave();
        // The client went away: the run stops within a step; a waiting request leaves the queue.
        if (!arrived()) cancellation.abort(new HttpError(499, "ERR_CLIENT_GONE", "the client went away"));
      });
    },
    preHandler: async (request) => {
      receiving.delete(request);
    },
    handler: async (request, reply) => {
      const { image: given, format, ...options } = /** @type {import("./edit-request.js").EditBody} */ (request.body);
      const cancellation = cancellations.get(request);
      // The client disconnected during validation of the body.
      if (!cancellation) return reply.hijack();
      const { signal } = cancellation;
      try {
        reading++;
        const image = await loadRequestImage(given, settings, signal).finally(() => reading--);
        const { images, seed } = await queue.run(async () => {
          const stop = metrics.seconds.startTimer();
          const result = await pipe.run({ ...options, image, signal, onStep: () => metrics.steps.inc() });
          stop();
          return result;
        }, signal);
        const picture = await /** @type {NonNullable<(typeof images)[0]>} */ (images[0]).encode(format);
        return reply.type(`image/${format}`).header("x-seed", String(seed)).send(picture);
      } catch (error) {
        throw isInstructPix2PixError(error, "ERR_ABORTED") ? signal.reason : error;
      }
    },
  });

  /**
   * Ends a request that takes too long, in any state.
   *
   * @param {import("fastify").FastifyRequest} request
   * @param {import("fastify").FastifyReply} reply
   * @param {number} status
   * @param {string} message
   */
  function giveUp(request, reply, status, message) {
    const error = new HttpError(status, "ERR_TIMEOUT", message);
    // The response is being sent, but the client does not read it.
    if (reply.sent) reply.raw.destroy();
    // Nothing listens to the signal yet. The rest of the body is not awaited.
    else if (receiving.has(request)) reply.header("connection", "close").send(error);
    else cancellations.get(request)?.abort(error);
  }

  /** Accepts no more requests, lets those in progress finish, and aborts the rest when the grace period ends. */
  async function stop() {
    stopping = true;
    const over = setTimeout(() => {
      for (const cancellation of cancellations.values())
        cancellation.abort(new HttpError(503, "ERR_STOPPING", "the server is stopping", 10));
      // Ends uploads too, which nothing else stops.
      setTimeout(() => app.server.closeAllConnections(), 1000).unref();
    }, settings.grace * 1000);
    await app.close();
    clearTimeout(over);
  }

  return { app, stop };
}
