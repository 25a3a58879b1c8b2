import { Agent, type Dispatcher, EnvHttpProxyAgent } from "undici";
import type { Environment } from "../runtime/platform.js";

/**
 * A dispatcher for requests through the environment's proxies (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, in either
 * case), or direct. The caller must destroy it.
 */
export function dispatcherFor(env: Environment, options: Agent.Options): Dispatcher {
  const httpProxy = env.http_proxy ?? env.HTTP_PROXY ?? "";
  const httpsProxy = env.https_proxy ?? env.HTTPS_PROXY ?? "";
  const noProxy = env.no_proxy ?? env.NO_PROXY ?? "";
  if (!httpProxy && !httpsProxy) return new Agent(options);
  return new EnvHttpProxyAgent({ ...options, httpProxy, httpsProxy, noProxy });
}
