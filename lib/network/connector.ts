import { type LookupAddress, lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import type { buildConnector } from "undici";
import { undici } from "./undici.js";

export interface ConnectorOptions {
  /** Milliseconds until a connection is given up. */
  timeout: number;
  /** Resolves names; default the system's resolver. */
  lookup?: typeof systemLookup | undefined;
  /** Which IP addresses may be connected to. */
  isAllowed: (address: string) => boolean;
}

/** No connection was made. The cause, which may name addresses, tells a forbidden address from a failure. */
export class NotConnected extends Error {}

/**
 * Makes undici's connections, to allowed addresses only. The rule is applied to the addresses that are really dialled:
 * to an IP address in place of a name, to all addresses that a name resolves to, and once more to the address at the
 * other end before anything of the request is sent. It does not parse URLs, so a crafted URL cannot deceive it.
 *
 * Every failure is a {@link NotConnected}.
 */
export function guardedConnector({ timeout, lookup, isAllowed: rule }: ConnectorOptions): buildConnector.connector {
  const connect = undici().buildConnector({ timeout, lookup: guardedLookup(lookup ?? systemLookup, rule) });
  return (target, callback) => {
    const fail = (cause: unknown) => callback(new NotConnected("no connection was made", { cause }), null);
    const host = target.hostname.replace(/^\[|\]$/g, "");
    // IP addresses are not resolved.
    if (isIP(host) !== 0 && !rule(host)) return fail(forbidden(host));
    connect(target, (...[error, socket]) => {
      if (error) return fail(error);
      if (rule(socket.remoteAddress ?? "")) return callback(null, socket);
      socket.destroy();
      fail(forbidden(socket.remoteAddress));
    });
  };
}

function forbidden(address: string | undefined): Error {
  return new Error(`${address} must not be connected to`);
}

/** Resolves a name; fails unless all its addresses are allowed. */
function guardedLookup(resolve: typeof systemLookup, rule: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      if (error) return callback(error, []);
      const refused = addresses.find(({ address }) => !rule(address));
      if (refused) return callback(forbidden(refused.address), []);
      const [first] = addresses;
      if (!first) return callback(new Error(`${hostname} has no address`), []);
      if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
