import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import multipart from "@fastify/multipart";
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchemaValidationError } from "fastify";
import { decodesInProgress } from "../images/index.js";
import { native } from "../runtime/native.js";
import { createAccess } from "./access/access.js";
import { allowOrigins } from "./access/cors.js";
import { Rates } from "./access/rates.js";
import { describeError, HttpError } from "./errors.js";
import { Jobs } from "./jobs/jobs.js";
import { createMetrics } from "./metrics.js";
import { ModelStore, type ServerLoras } from "./model-store.js";
import type { ServerModels } from "./models.js";
import { documentRoutes } from "./openapi.js";
import { resolveServerOptions, type ServerOptions } from "./options.js";
import { loadImageLibrary } from "./pictures.js";
import { BoundedQueue } from "./queue.js";
import { RequestLives } from "./request-life.js";
import { addAdminRoutes } from "./routes/admin.js";
import { addExampleRoutes } from "./routes/examples.js";
import { addImageRoutes } from "./routes/images.js";
import { addJobRoutes } from "./routes/jobs.js";
import { addModelRoutes } from "./routes/models.js";
import { addPage } from "./routes/page.js";
import { addSdRoutes } from "./routes/sdapi.js";
import { warmUp } from "./run.js";
import type { Serving } from "./serving.js";

/** The options of {@link editsPlugin}; those about listening are for `createServer`. */
export interface EditsPluginOptions extends ServerOptions {
  models: ServerModels;
  /** LoRA adapters that requests may name. Default none. */
  loras?: ServerLoras;
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
export async function editsPlugin(
  app: FastifyInstance,
  { models, loras = {}, ...options }: EditsPluginOptions,
): Promise<void> {
  const settings = resolveServerOptions(options);
  const access = createAccess(settings);
  const stop = new AbortController();
  const surroundings = { settings, access, log: app.log, stopping: stop.signal };
  const serving = await createServing({ models, loras }, surroundings);
  let jobs: Jobs | undefined;
  let draining: { stop(): void } | undefined;

  app.addHook("preClose", async () => {
    stop.abort();
    serving.ready = false;
    draining = serving.lives.drain(() => app.server.closeAllConnections());
  });
  app.addHook("onClose", async () => {
    draining?.stop();
    await jobs?.stop();
    serving.store[Symbol.dispose]();
  });
  app.addHook("onSend", async (_request, reply) => {
    if (stop.signal.aborted) reply.header("connection", "close");
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
  addExampleRoutes(app, serving);
  if (settings.jobsDir !== undefined) {
    jobs = await Jobs.open(serving, resolve(settings.jobsDir));
    addJobRoutes(app, serving, jobs);
  }
  if (settings.page) addPage(app);
}

async function createServing(
  { models, loras }: Required<Pick<EditsPluginOptions, "models" | "loras">>,
  surroundings: Pick<Serving, "settings" | "access" | "log" | "stopping">,
): Promise<Serving> {
  const { settings, access } = surroundings;
  const reading = { count: 0 };
  // A decoder cannot be stopped at once: it may still run after its request has ended.
  const queue = new BoundedQueue(settings, () => Math.max(0, decodesInProgress() - reading.count));
  const metrics = createMetrics(queue);
  const lives = new RequestLives({ settings, access, queue, rates: new Rates(), metrics });
  const store = await ModelStore.open(models, loras, settings, {
    onPass: ({ runs }) => metrics.passes.observe(runs),
    onLoad: (name) => metrics.loads.inc({ model: name }),
  });
  metrics.watchMemory(() => store.bytes);
  // Else a request waits for the end of a thread's time slice, several times, before it is even refused.
  if (settings.nice > 0) await native().raiseNiceness(settings.nice);
  await loadImageLibrary();
  if (settings.warmUp)
    for (const { name, loaded } of store.list) {
      // With a memory budget, one would push out the other.
      if (!loaded) continue;
      using model = await store.use(name, []);
      await warmUp(model);
    }
  return { ...surroundings, store, loras: Object.keys(loras), queue, metrics, lives, reading, ready: true };
}

/** Answers with errors in the form of OpenAI's API. */
export function handleErrors(app: FastifyInstance, isReceiving: (request: FastifyRequest) => boolean): void {
  app.setErrorHandler((error: Error, request, reply) => answerError(error, request, reply, isReceiving(request)));
}

/** @param receiving whether it arose while the body was read */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, receiving: boolean): void {
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
