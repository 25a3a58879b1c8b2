import { unescape as percentDecode } from "node:querystring";
import { HttpError } from "./http-error.js";

/** A URL for messages: without user name, password and query, which may hold secrets. */
export function displayUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** The Authorization header of a URL's own user name and password. */
export function urlAuthorization(url: URL): string | undefined {
  // Not decodeURIComponent, which throws for a literal percent sign.
  const credentials = `${percentDecode(url.username)}:${percentDecode(url.password)}`;
  return credentials === ":" ? undefined : `Basic ${Buffer.from(credentials).toString("base64")}`;
}

/** An address given by a server at `from`: http or https, and only https if `from` is https; otherwise undefined. */
export function addressWithin(from: URL, address: string): URL | undefined {
  const target = httpAddress(from, address);
  return target && losesEncryption(from, target) ? undefined : target;
}

/**
 * The target of a redirect.
 *
 * @param mayLoseEncryption whether it may lead from https to http
 * @throws {@link HttpError} "redirect"
 */
export function redirectTarget(from: URL, location: string, mayLoseEncryption = false): URL {
  const target = httpAddress(from, location);
  if (!target) throw new HttpError("redirect", from, "it redirects to something that is neither http nor https");
  if (!mayLoseEncryption && losesEncryption(from, target))
    throw new HttpError("redirect", from, "it redirects to an address without encryption");
  return target;
}

function httpAddress(from: URL, address: string): URL | undefined {
  const target = URL.canParse(address, from.href) ? new URL(address, from) : undefined;
  return target && /^https?:$/.test(target.protocol) ? target : undefined;
}

function losesEncryption(from: URL, to: URL): boolean {
  return from.protocol === "https:" && to.protocol !== "https:";
}
