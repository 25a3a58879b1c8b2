import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";
import { quote } from "../../core/quote.js";
import { invalidOption, listOf, type ServerSettings } from "../options.js";
import { createHostCheck, isLocalHost } from "./hosts.js";
import { createKeyCheck, type KeyCheck } from "./keys.js";
import { createMetricsCheck } from "./metrics-access.js";

/** The server's access checks, which throw an `HttpError`. */
export interface Access {
  /** Whether the request is meant for this server, and comes from no other site's page. */
  checkHost(request: Pick<FastifyRequest, "headers">): void;
  checkMetrics(request: FastifyRequest): void;
  /** Checks the key, and returns the client that the request counts for. */
  clientOf: KeyCheck;
  /** Proxies in fastify's form. */
  trustProxy: string[] | false;
}

/** @throws `ERR_INVALID_ARGUMENT` for options that are invalid, or unsafe together */
export function createAccess(settings: ServerSettings): Access {
  const { host, apiKeysFile, allowWithoutKey } = settings;
  if (apiKeysFile === undefined && !allowWithoutKey && !isLocalHost(host))
    throw invalidOption(
      `whoever reaches ${quote(host)} could use the server: give apiKeysFile, or allowWithoutKey if that is meant`,
    );
  return {
    checkHost: createHostCheck(settings),
    checkMetrics: createMetricsCheck(settings.metricsTokenFile),
    clientOf: createKeyCheck(apiKeysFile),
    trustProxy: proxies(settings.trustProxy),
  };
}

/** Trusting all addresses is refused: any client could then forge its own. */
function proxies(text: string): string[] | false {
  const parts = listOf(text);
  for (const part of parts) {
    const [address = "", prefix = "32", ...more] = part.split("/");
    const bits = isIP(address) === 6 ? 128 : 32;
    const isNetwork =
      isIP(address) !== 0 && /^\d+$/.test(prefix) && +prefix >= 1 && +prefix <= bits && more.length === 0;
    if (!isNetwork && !["loopback", "linklocal", "uniquelocal"].includes(part))
      throw invalidOption(`trustProxy holds ${quote(part)}, which is no address or network such as 10.0.0.0/8`);
  }
  return parts.length > 0 && parts;
}
