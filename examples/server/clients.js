import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { HttpError } from "./errors.js";

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/**
 * Whether an IP address is one of this machine's own.
 *
 * @param {string} address
 */
export function isLoopback(address) {
  const plain = withoutMapping(address);
  const version = isIP(plain);
  return version !== 0 && loopback.check(plain, version === 4 ? "ipv4" : "ipv6");
}

/**
 * The client a request is counted for: its IPv4 address, or the /64 prefix of its IPv6 address, which one subscriber
 * has. Behind a trusted proxy it is the client that the proxy names, else the proxy.
 *
 * @param {import("fastify").FastifyRequest} request
 */
export function clientOf({ ip, socket }) {
  // Some proxies add the port, or send no address at all.
  const named = /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(ip) ?? /^\[([\da-f:.]+)\](?::\d+)?$/i.exec(ip);
  const given = named?.[1] ?? ip;
  const address = withoutMapping((isIP(given) ? given : (socket.remoteAddress ?? "")).replace(/%.*$/, ""));
  if (isIP(address) !== 6) return address;
  // URL parsing gives IPv6 addresses their canonical form, with one run of zeros left out.
  const [head = "", tail = ""] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split("::");
  const [first, last] = [head, tail].map((part) => (part === "" ? [] : part.split(":")));
  const zeros = Array(8 - first.length - last.length).fill("0");
  return [...first, ...zeros, ...last].slice(0, 4).join(":");
}

/** @param {string} address */
function withoutMapping(address) {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
}

/** Headers that show that a proxy forwarded the request. */
const FORWARDING = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/**
 * Makes the check for access to the metrics: by the token or, without one, from programs on this machine only.
 *
 * @param {{ metricsTokenFile: string }} settings
 * @returns {(request: import("fastify").FastifyRequest) => void} throws a 401 or 403
 */
export function createMetricsCheck({ metricsTokenFile }) {
  if (metricsTokenFile === "")
    return ({ headers, socket }) => {
      // Requests forwarded by a proxy on this machine come from loopback too.
      if (isLoopback(socket.remoteAddress ?? "") && !FORWARDING.some((name) => name in headers)) return;
      throw new HttpError(403, "ERR_FORBIDDEN", "the figures are for this machine only; see --metrics-token-file");
    };
  const expected = digest(`Bearer ${readToken(metricsTokenFile)}`);
  return ({ headers }) => {
    if (timingSafeEqual(digest(headers.authorization ?? ""), expected)) return;
    throw new HttpError(401, "ERR_UNAUTHORIZED", "the figures need the token of --metrics-token-file as Bearer");
  };
}

/** @param {string} file */
function readToken(file) {
  let token = "";
  try {
    token = readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw new Error(`--metrics-token-file: ${file} cannot be read`, { cause });
  }
  if (token === "") throw new Error(`--metrics-token-file: ${file} is empty`);
  return token;
}

/** @param {string} text */
function digest(text) {
  return createHash("sha256").update(text).digest();
}
