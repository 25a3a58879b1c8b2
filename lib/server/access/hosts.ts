import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";
import { quote } from "../../core/quote.js";
import { HttpError } from "../errors.js";
import { invalidOption, listOf, type ServerSettings } from "../options.js";
import { isLoopback } from "./clients.js";

/**
 * Makes the check that a request is meant for this server and does not come from a page of another site. Browsers let
 * any page send requests to a server that only its visitor can reach. A page of another site is recognised by `Origin`; one
 * whose name was made to resolve to this server (DNS rebinding) by the name in `Host`.
 *
 * Loopback names and `host` are always accepted, and, unless listening on loopback only, every IP address, because
 * DNS rebinding needs a name.
 *
 * @returns throws a 400, 403 or 421
 */
export function createHostCheck(
  { host, allowedHosts }: Pick<ServerSettings, "host" | "allowedHosts">,
  origins: readonly string[],
): (request: Pick<FastifyRequest, "headers">) => void {
  const hosts = listOf(allowedHosts).map((name) => name.toLowerCase());
  const bound = boundName(host);
  const onLoopback = isLocal(bound);

  return ({ headers }) => {
    const name = hostnameOf(headers.host);
    if (name === undefined) throw new HttpError(400, "ERR_HOST", "the header Host is missing or malformed");
    const known =
      isLocal(name) ||
      name === bound ||
      (!onLoopback && isIP(name) !== 0) ||
      hosts.includes(name) ||
      hosts.includes("*");
    if (!known) throw new HttpError(421, "ERR_HOST", `this server is not known as ${name}; see --allowed_hosts`);
    const { origin } = headers;
    if (origin !== undefined && !origins.includes(origin) && !isSameHost(origin, headers.host))
      throw new HttpError(403, "ERR_ORIGIN", "pages of other origins may not ask this server; see --allowed_origins");
  };
}

/** @throws `ERR_INVALID_ARGUMENT` for what is no origin */
export function allowedOrigins(list: string): string[] {
  return listOf(list).map((text) => {
    if (!URL.canParse(text) || new URL(text).origin === "null")
      throw invalidOption(`allowedOrigins holds ${quote(text)}, which is no origin such as https://example.org`);
    return new URL(text).origin;
  });
}

/** Whether a server that listens there is reached by programs on this machine only. */
export function isLocalHost(host: string): boolean {
  return isLocal(boundName(host));
}

function boundName(host: string): string | undefined {
  return hostnameOf(isIP(host) === 6 ? `[${host}]` : host);
}

/** The name or address in the header Host, normalised, without port, brackets and final dot. */
function hostnameOf(host: string | undefined): string | undefined {
  if (host === undefined || !/^(\[[\da-f:.]+\]|[^\s:/?#@\\[\]]+)(:\d*)?$/i.test(host)) return undefined;
  const url = `http://${host}/`;
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$|\.$/g, "") : undefined;
}

function isLocal(name: string | undefined): boolean {
  return name !== undefined && (name === "localhost" || isLoopback(name));
}

/** Whether the origin is the server itself. A proxy may have terminated TLS. */
function isSameHost(origin: string, host: string | undefined): boolean {
  const page = URL.canParse(origin) ? new URL(origin) : undefined;
  return /^https?:$/.test(page?.protocol ?? "") && new URL(`${page?.protocol}//${host}/`).host === page?.host;
}
