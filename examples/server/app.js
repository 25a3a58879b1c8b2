import multipart from "@fastify/multipart";
import fastify, { LogController } from "fastify";
import { isInstructPix2PixError } from "instruct-pix2pix";
import { editSchema, JSON_LIMIT, loadRequestImage } from "./edit-request.js";
import { describeError, HttpError } from "./errors.js";
import { createMetrics } from "./metrics.js";
import { BoundedQueue } from "./queue.js";

/**
 * The server's routes on a loaded pipeline.
 *
 * @param {import("instruct-pix2pix").InstructPix2PixPipeline} pipe
 * @param {import("./settings.js").Settings} settings
 */
export function createApp(pipe, settings) {
  const queue = new BoundedQueue(settings);
  const metrics = createMetrics(queue);
  /** @type {Map<import("fastify").FastifyRequest, AbortController>} of every request that is inside */
  const cancellations = new Map();
  let stopping = false;

  const app = fastify({
    logger: { level: process.env.LOG_LEVEL ?? "info" },
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: JSON_LIMIT,
    requestTimeout: settings.timeout * 1000,
    // An option that is misspelt is refused by its name instead of left out.
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

  app.setErrorHandler((error, _request, reply) => {
    const { statusCode, code, message, retryAfter } = describeError(error);
    if (statusCode === 500) app.log.error(error);
    if (retryAfter !== undefined) reply.header("retry-after", retryAfter);
    reply.code(statusCode).send({ code, message });
  });
  app.addHook("onSend", async (_request, reply) => {
    if (stopping) reply.header("connection", "close");
  });

  app.get("/health", async () => {
    const { inside, waiting, running } = queue;
    return { status: "ok", inside, waiting, running };
  });
  app.get("/metrics", async (_request, reply) => {
    reply.type(metrics.registry.contentType);
    return metrics.registry.metrics();
  });

  app.post("/edit", {
    schema: { body: editSchema(settings) },
    // Before the body is read: a request that finds no place costs no memory.
    onRequest: async (request, reply) => {
      reply.raw.once("close", () =>
        metrics.answers.inc({ status: reply.raw.writableFinished ? reply.statusCode : 499 }),
      );
      queue.enter();
      const cancellation = new AbortController();
      cancellations.set(request, cancellation);
      const late = new HttpError(504, "ERR_TIMEOUT", `the edit took longer than ${settings.timeout} s`);
      const deadline = setTimeout(() => cancellation.abort(late), settings.timeout * 1000);
      reply.raw.once("close", () => {
        clearTimeout(deadline);
        cancellations.delete(request);
        queue.leave();
        // The client went away: the run stops within a step, a request that waits leaves the queue.
        if (!reply.raw.writableFinished)
          cancellation.abort(new HttpError(499, "ERR_CLIENT_GONE", "the client went away"));
      });
    },
    handler: async (request, reply) => {
      const { image: given, format, ...options } = /** @type {import("./edit-request.js").EditBody} */ (request.body);
      const cancellation = cancellations.get(request);
      // It went away while its body was looked at.
      if (!cancellation) return reply.hijack();
      const { signal } = cancellation;
      try {
        const image = await loadRequestImage(given, settings, signal);
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

  /** Takes no more requests, lets those that are inside finish, and gives up what is left when the grace is over. */
  async function stop() {
    stopping = true;
    const over = setTimeout(() => {
      for (const cancellation of cancellations.values())
        cancellation.abort(new HttpError(503, "ERR_STOPPING", "the server is stopping", 10));
      // What is still being uploaded hears of it only by this.
      setTimeout(() => app.server.closeAllConnections(), 1000).unref();
    }, settings.grace * 1000);
    await app.close();
    clearTimeout(over);
  }

  return { app, stop };
}
