import type { lookup as systemLookup } from "node:dns";
import type { Dispatcher } from "undici";
import type { Environment } from "../runtime/platform.js";
import { guardedConnector } from "./connector.js";
import { undici } from "./undici.js";

export interface DispatcherOptions {
  /** For `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in either case; default `process.env`. */
  readonly env?: Environment | undefined;
  /** Milliseconds until a host that cannot be connected to is given up; default 10000. */
  readonly connectTimeout?: number;
  /** Milliseconds without a byte until a connection is given up; default 300000. */
  readonly idleTimeout?: number | undefined;
  /**
   * Which IP addresses may be connected to, checked when a connection is made. No proxy is used then: it would connect
   * by itself. Default: all, through the environment's proxies.
   */
  readonly isAllowed?: ((address: string) => boolean) | undefined;
  /** Resolves names; default the system's resolver. */
  readonly lookup?: typeof systemLookup | undefined;
}

/** What makes the connections of a client; whoever asks for it must destroy it. */
export function dispatcherFor(options: DispatcherOptions): Dispatcher {
  const { env = process.env, connectTimeout: timeout = 10_000, idleTimeout, isAllowed, lookup } = options;
  const { Agent, EnvHttpProxyAgent } = undici();
  const limits = idleTimeout === undefined ? {} : { headersTimeout: idleTimeout, bodyTimeout: idleTimeout };
  if (isAllowed) return new Agent({ ...limits, connect: guardedConnector({ timeout, lookup, isAllowed }) });
  const direct = { ...limits, connect: { timeout, ...(lookup && { lookup }) } };
  const httpProxy = env.http_proxy ?? env.HTTP_PROXY ?? "";
  const httpsProxy = env.https_proxy ?? env.HTTPS_PROXY ?? "";
  const noProxy = env.no_proxy ?? env.NO_PROXY ?? "";
  if (!httpProxy && !httpsProxy) return new Agent(direct);
  return new EnvHttpProxyAgent({ ...direct, httpProxy, httpsProxy, noProxy });
}
