import { isIP } from "node:net";
import { createMetricsCheck } from "./clients.js";
import { createHostCheck } from "./hosts.js";
import { listOf } from "./settings.js";

/** @typedef {ReturnType<typeof createAccess>} Access */

/**
 * The server's access checks. Throws for invalid settings.
 *
 * @param {import("./settings.js").Settings} settings
 */
export function createAccess(settings) {
  return {
    checkHost: createHostCheck(settings),
    checkMetrics: createMetricsCheck(settings),
    trustProxy: proxies(settings.trustProxy),
  };
}

/**
 * Addresses and networks of proxies in fastify's form. Trusting all addresses is refused: any client could then forge its own.
 *
 * @param {string} text
 */
function proxies(text) {
  const parts = listOf(text);
  for (const part of parts) {
    const [address = "", prefix = "32", ...more] = part.split("/");
    const bits = isIP(address) === 6 ? 128 : 32;
    const isNetwork =
      isIP(address) !== 0 && /^\d+$/.test(prefix) && +prefix >= 1 && +prefix <= bits && more.length === 0;
    if (!isNetwork && !["loopback", "linklocal", "uniquelocal"].includes(part))
      throw new Error(`--trust-proxy holds "${part}", which is no address or network such as 10.0.0.0/8`);
  }
  return parts.length > 0 && parts;
}
