import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";
import { quote } from "../../core/quote.js";
import { invalidOption, listOf, type ServerSettings } from "../options.js";
import { allowedOrigins, createHostCheck, isLocalHost } from "./hosts.js";
import { type ClientLimits, createKeys, type KeyCheck } from "./keys.js";
import { createMetricsCheck } from "./metrics-access.js";

/** The server's access checks, which throw an `HttpError`. */
export interface Access {
  /** Whether the request is meant for this server, and comes from no other site's page. */
  checkHost(request: Pick<FastifyRequest, "headers">): void;
  checkMetrics(request: FastifyRequest): void;
  /** A hook of routes that only need a valid key. */
  requireKey(request: FastifyRequest): Promise<void>;
  /** Checks the key, and returns the client that the request counts for. */
  clientOf: KeyCheck;
  /** What a client may do, where it differs from the options. */
  limitsOf(client: string): ClientLimits;
  /** Origins whose pages may send requests and read answers. */
  origins: readonly string[];
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
  const keys = createKeys(apiKeysFile);
  const origins = allowedOrigins(settings.allowedOrigins);
  return {
    checkHost: createHostCheck(settings, origins),
    checkMetrics: createMetricsCheck(settings.metricsTokenFile),
    requireKey: async (request) => {
      keys.check(request);
    },
    clientOf: keys.check,
    limitsOf: keys.limitsOf,
    origins,
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
