import { BlockList, isIP } from "node:net";
import type { FastifyRequest } from "fastify";

const loopback = new BlockList();
loopback.addAddress("::1", "ipv6");

/** Whether an IP address is one of this machine's own. */
export function isLoopback(address: string): boolean {
  const plain = withoutMapping(address);
  const version = isIP(plain);
  // Asked of every request, and most often of IPv4: a BlockList would make an object of each address.
  return version === 4 ? plain.startsWith("127.") : version === 6 && loopback.check(plain, "ipv6");
}

/**
 * The client a request is counted for: its IPv4 address, or the /64 prefix of its IPv6 address, which one subscriber
 * has. Behind a trusted proxy it is the client that the proxy names, else the proxy.
 */
export function clientOf({ ip, socket }: Pick<FastifyRequest, "ip" | "socket">): string {
  // Some proxies add the port, or send no address at all.
  const named = /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(ip) ?? /^\[([\da-f:.]+)\](?::\d+)?$/i.exec(ip);
  const given = named?.[1] ?? ip;
  const address = withoutMapping((isIP(given) ? given : (socket.remoteAddress ?? "")).replace(/%.*$/, ""));
  if (isIP(address) !== 6) return address;
  // URL parsing gives IPv6 addresses their canonical form, with one run of zeros left out.
  const [head = "", tail = ""] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split("::");
  const partsOf = (part: string) => (part === "" ? [] : part.split(":"));
  const [first, last] = [partsOf(head), partsOf(tail)];
  const zeros = Array(8 - first.length - last.length).fill("0");
  return [...first, ...zeros, ...last].slice(0, 4).join(":");
}

function withoutMapping(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
}
