import { lookup } from "node:dns/promises";
import { networkInterfaces } from "node:os";
import { quote } from "../core/quote.js";
import type { Member } from "./members.js";
import { groupError } from "./store-client.js";

/** The variable by which Gloo is told which network interface to use. */
const INTERFACE = "GLOO_SOCKET_IFNAME";

/**
 * Gloo listens on the address that the host's name has, and silently on the loopback address if that is all; other hosts
 * cannot reach it there.
 *
 * @throws `ERR_DISTRIBUTED` naming the interface or the host
 */
export async function checkNetwork(host: string, members: readonly Member[]): Promise<void> {
  const name = process.env.GLOO_SOCKET_IFNAME;
  const interfaces = networkInterfaces();
  if (name !== undefined) {
    for (const each of name.split(","))
      if (!interfaces[each])
        throw groupError(`${INTERFACE} names ${quote(each)}, but ${host} has ${Object.keys(interfaces).join(", ")}`);
    return;
  }
  if (new Set(members.map((member) => member.host)).size === 1) return;
  const address = await lookup(host).then(
    ({ address }) => address,
    () => undefined,
  );
  if (address !== undefined && !isLoopback(address)) return;
  const others = Object.keys(interfaces).filter((each) => interfaces[each]!.some(({ internal }) => !internal));
  throw groupError(
    `${host} ${address === undefined ? "cannot resolve its own name" : `knows itself as ${address}`}, where other hosts cannot reach it; set ${INTERFACE} to the network interface that connects the hosts (${others.join(", ")})`,
  );
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}
