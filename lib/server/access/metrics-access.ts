import { timingSafeEqual } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { HttpError } from "../errors.js";
import { isLoopback } from "./clients.js";
import { bearerOf, digest, readSecrets } from "./secret-file.js";

/** Headers that show that a proxy forwarded the request. */
const FORWARDING = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/**
 * Makes the check for access to the metrics: by the token or, without one, from programs on this machine only.
 *
 * @returns throws a 401 or 403
 */
export function createMetricsCheck(
  tokenFile: string | undefined,
): (request: Pick<FastifyRequest, "headers" | "socket">) => void {
  if (tokenFile === undefined)
    return ({ headers, socket }) => {
      // Requests forwarded by a proxy on this machine come from loopback too.
      if (isLoopback(socket.remoteAddress ?? "") && !FORWARDING.some((name) => name in headers)) return;
      throw new HttpError(403, "ERR_FORBIDDEN", "the metrics are for this machine only; see --metrics_token_file");
    };
  const [token] = readSecrets("metricsTokenFile", tokenFile);
  const expected = digest(token!);
  return ({ headers }) => {
    if (timingSafeEqual(digest(bearerOf(headers.authorization) ?? ""), expected)) return;
    throw new HttpError(401, "ERR_UNAUTHORIZED", "the metrics need the token of --metrics_token_file as Bearer");
  };
}
