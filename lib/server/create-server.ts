import fastify, { type FastifyInstance, LogController } from "fastify";
import { createAccess } from "./access/access.js";
import { HttpError } from "./errors.js";
import { resolveServerOptions } from "./options.js";
import { answerError, type EditsPluginOptions, editsPlugin, handleErrors, requestId } from "./plugin.js";

/** A server whose models are loaded. */
export interface ImageServer extends AsyncDisposable {
  /** Further routes and hooks can be added before it listens. */
  readonly app: FastifyInstance;
  /** @returns its address, such as http://127.0.0.1:8080 */
  listen(): Promise<string>;
  /** Takes no more requests, lets those in progress finish for as long as `grace` says, and frees the models it loaded. */
  close(): Promise<void>;
}

/**
 * Loads models and makes a server for them: OpenAI's API for images, health and metrics.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option, and as `DiffusionPipeline.fromPretrained`
 *
 * @example
 * ```js
 * import { builtInModel } from "instruct-pix2pix";
 * import { createServer } from "instruct-pix2pix/server";
 *
 * const server = await createServer({ models: { tiny: builtInModel }, port: 0, logLevel: "silent" });
 * console.log(await server.listen());
 * await server.close();
 * ```
 */
export async function createServer(options: EditsPluginOptions): Promise<ImageServer> {
  const { models: _models, loras: _loras, ...rest } = options;
  const settings = resolveServerOptions(rest);
  const app = fastify({
    logger: { level: settings.logLevel },
    logController: new LogController({ disableRequestLogging: true }),
    // Models may take minutes to load.
    pluginTimeout: 0,
    requestTimeout: settings.timeout * 1000,
    http: {
      // Of all headers together; Node.js looks at its connections from time to time.
      headersTimeout: 1000 * Math.min(60, settings.bodyTimeout),
      connectionsCheckingInterval: Math.min(5000, 500 * settings.bodyTimeout),
    },
    // Paths that the router refuses by itself. Nothing has a name that is as long as that.
    frameworkErrors: (error, request, reply) =>
      answerError(error.code === "FST_ERR_MAX_PARAM_LENGTH" ? nothingHere() : error, request, reply as never, false),
    trustProxy: createAccess(settings).trustProxy,
    genReqId: ({ headers }) => requestId(headers["x-request-id"]),
  }) as unknown as FastifyInstance;
  app.removeContentTypeParser("text/plain");
  handleErrors(app, () => false);
  app.addHook("onRequest", async (request) => {
    // Checked in this hook so that no body is read first.
    if (request.is404) throw nothingHere();
  });
  app.register(editsPlugin, options);
  await app.ready();
  const close = () => app.close();
  return {
    app,
    listen: () => app.listen({ host: settings.host, port: settings.port }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

const nothingHere = () => new HttpError(404, "ERR_NOT_FOUND", "there is nothing here");
