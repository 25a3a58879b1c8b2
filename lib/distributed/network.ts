import { lookup } from "node:dns/promises";
import { networkInterfaces } from "node:os";
import { quote } from "../core/quote.js";
import type { Member } from "./members.js";
import { groupError } from "./store-client.js";

/** The variable by which Gloo is told which network interface to use. */
const INTERFACE = "GLOO_SOCKET_IFNAME";

/**
 * Gloo listens at the addresses of the interfaces that `GLOO_SOCKET_IFNAME` names. Without it, it listens at the address that
 * the host's name has, and silently at the loopback address if that is all; other hosts cannot reach it there.
 *
 * @returns where this process listens, for messages
 * @throws `ERR_DISTRIBUTED` naming the interface or the host
 */
export async function checkNetwork(host: string, members: readonly Member[]): Promise<string> {
  const interfaces = networkInterfaces();
  const addressOf = (name: string) => interfaces[name]?.[0]?.address;
  const isOneHost = new Set(members.map((member) => member.host)).size === 1;
  const outward = Object.keys(interfaces).filter((each) => interfaces[each]!.some(({ internal }) => !internal));
  const advice = `set ${INTERFACE} to the network interface that connects the hosts (${outward.join(", ")})`;
  const names = process.env.GLOO_SOCKET_IFNAME?.split(",");
  if (names) {
    for (const name of names) {
      if (!interfaces[name])
        throw groupError(`${INTERFACE} names ${quote(name)}, but ${host} has ${Object.keys(interfaces).join(", ")}`);
      if (!isOneHost && !outward.includes(name))
        throw groupError(`${INTERFACE} names ${quote(name)}, where other hosts cannot reach ${host}; ${advice}`);
    }
    return names.map((name) => `${name} (${addressOf(name)})`).join(", ");
  }
  const address = await lookup(host).then(
    ({ address }) => address,
    () => undefined,
  );
  if (isOneHost || (address !== undefined && !isLoopback(address))) return address ?? "localhost";
  throw groupError(
    `${host} ${address === undefined ? "cannot resolve its own name" : `knows itself as ${address}`}, where other hosts cannot reach it; ${advice}`,
  );
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}
