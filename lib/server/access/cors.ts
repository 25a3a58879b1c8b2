import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { HttpError } from "../errors.js";

/** Headers of answers that pages of other origins may read. */
const EXPOSED = "retry-after, x-request-id, x-seed";
/** Seconds for which a browser need not ask again. */
const MAX_AGE = 600;

/**
 * Lets pages of the allowed origins read answers, by CORS. Only an origin of the list is named, never `*`, and never with
 * credentials: a page needs a key of its own. An origin that is not allowed gets no such header; its requests are refused by
 * the check of hosts.
 */
export function allowOrigins(app: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  app.addHook("onRequest", async (request, reply) => {
    // Caches must not give one origin's answer to another.
    reply.header("vary", "origin");
    const { origin } = request.headers;
    if (origin === undefined || !origins.includes(origin)) return;
    reply.headers({ "access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED });
  });
  app.options("/*", { config: { doc: null } }, answerPreflight);
}

/** What browsers ask before they send a request that a form could not. */
async function answerPreflight({ headers }: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  if (headers.origin === undefined || headers["access-control-request-method"] === undefined)
    throw new HttpError(404, "ERR_NOT_FOUND", "there is nothing here");
  return reply
    .headers({
      "access-control-allow-methods": "GET, POST, DELETE",
      "access-control-allow-headers": "authorization, content-type, x-request-id",
      "access-control-max-age": MAX_AGE,
    })
    .code(204)
    .send();
}
