import { randomUUID } from "node:crypto";
import multipart from "@fastify/multipart";
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchemaValidationError } from "fastify";
import { decodesInProgress } from "../images/index.js";
import { type Access, createAccess } from "./access/access.js";
import { allowOrigins } from "./access/cors.js";
import { Rates } from "./access/rates.js";
import { describeError, HttpError } from "./errors.js";
import { createMetrics } from "./metrics.js";
import { ModelStore, type ServerModels } from "./models.js";
import { documentRoutes } from "./openapi.js";
import { resolveServerOptions, type ServerOptions } from "./options.js";
import { BoundedQueue } from "./queue.js";
import { RequestLives } from "./request-life.js";
import { addAdminRoutes } from "./routes/admin.js";
import { addImageRoutes } from "./routes/images.js";
import { addModelRoutes } from "./routes/models.js";
import { addPage } from "./routes/page.js";
import { addSdRoutes } from "./routes/sdapi.js";
import { addWorldRoutes } from "./routes/world.js";
import { warmUp } from "./run.js";
import type { Serving } from "./serving.js";

/** The options of {@link editsPlugin}; those about listening are for `createServer`. */
export interface EditsPluginOptions extends ServerOptions {
  models: ServerModels;
}

/** Fields of a multipart body at most, and the characters of each. */
const FIELDS = { fields: 40, fieldSize: 20_000, fieldNameSize: 100 };
/** An image, its mask, and one more, which is refused by its name. */
const FILES = 3;

/**
 * A fastify plugin with all of the server's routes. Closing the app lets requests in progress finish, for as long as `grace`
 * says; models that it loaded are freed then, pipelines that were given stay the caller's. Since loading may take longer than
 * fastify allows plugins by default, give the app `pluginTimeout: 0`.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option, and as `DiffusionPipeline.fromPretrained`
 */
export async function editsPlugin(app: FastifyInstance, { models, ...options }: EditsPluginOptions): Promise<void> {
  const settings = resolveServerOptions(options);
  const access = createAccess(settings);
  const serving = await createServing(models, settings, access);
  let stopping = false;
  let draining: { stop(): void } | undefined;

  app.addHook("preClose", async () => {
    stopping = true;
    serving.ready = false;
    draining = serving.lives.drain(() => app.server.closeAllConnections());
  });
  app.addHook("onClose", async () => {
    draining?.stop();
    serving.store[Symbol.dispose]();
  });
  app.addHook("onSend", async (_request, reply) => {
    if (stopping) reply.header("connection", "close");
  });
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    // Load balancers' health probes send any Host.
    if (!request.routeOptions.url?.startsWith("/health/")) access.checkHost(request);
  });
  handleErrors(app, (request) => serving.lives.isReceiving(request));
  app.setSchemaErrorFormatter(([error], part) => schemaError(error!, part));
  await app.register(multipart, {
    attachFieldsToBody: "keyValues",
    limits: { fileSize: settings.maxBytes, files: FILES, ...FIELDS },
  });
  documentRoutes(app);
  allowOrigins(app, access.origins);
  addAdminRoutes(app, serving);
  addModelRoutes(app, serving);
  addImageRoutes(app, serving);
  addSdRoutes(app, serving);
  addWorldRoutes(app, serving);
  if (settings.page) addPage(app);
}

async function createServing(models: ServerModels, settings: Serving["settings"], access: Access): Promise<Serving> {
  const reading = { count: 0 };
  // A decoder cannot be stopped at once: it may still run after its request has ended.
  const queue = new BoundedQueue(settings, () => Math.max(0, decodesInProgress() - reading.count));
  const metrics = createMetrics(queue);
  const lives = new RequestLives({ settings, access, queue, rates: new Rates(), metrics });
  const store = await ModelStore.load(models);
  if (settings.warmUp) for (const model of store.list) await warmUp(model);
  return { settings, access, store, queue, metrics, lives, reading, ready: true };
}

/** Answers with errors in the form of OpenAI's API. */
export function handleErrors(app: FastifyInstance, isReceiving: (request: FastifyRequest) => boolean): void {
  app.setErrorHandler((error: Error, request, reply) => answerError(error, request, reply, isReceiving(request)));
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, receiving: boolean): void {
  const described = describeError(error, receiving);
  if (described.statusCode === 500) request.log.error(error);
  if (described.retryAfter !== undefined) reply.header("retry-after", described.retryAfter);
  reply.header("x-request-id", request.id);
  reply.code(described.statusCode).send(described.body());
}

function schemaError({ instancePath, message, params }: FastifySchemaValidationError, part: string): HttpError {
  const missing = params.missingProperty as string | undefined;
  const param = missing ?? (instancePath.slice(1) || undefined);
  const choices = Array.isArray(params.allowedValues) ? `: ${params.allowedValues.join(", ")}` : "";
  const text = `${missing ? part : (param ?? part)} ${message}${choices}`;
  return new HttpError(400, "ERR_INVALID_ARGUMENT", text, { param });
}

/** The id of a request: the client's, if it is a plain one, so that its log and this one can be matched. */
export function requestId(given: string | string[] | undefined): string {
  return typeof given === "string" && /^[\w.:-]{1,128}$/.test(given) ? given : randomUUID();
}
