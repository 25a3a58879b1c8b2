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

/**
 * The target of a redirect.
 *
 * @param mayLoseEncryption whether it may lead from https to http
 * @throws {@link HttpError} "redirect"
 */
export function redirectTarget(from: URL, location: string, mayLoseEncryption = false): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  if (to?.protocol !== "http:" && to?.protocol !== "https:")
    throw new HttpError("redirect", from, "it redirects to something that is neither http nor https");
  if (!mayLoseEncryption && from.protocol === "https:" && to.protocol === "http:")
    throw new HttpError("redirect", from, "it redirects to an address without encryption");
  return to;
}

/** An address given by a server at `from`: one that it might redirect to; otherwise undefined. */
export function addressWithin(from: URL, address: string): URL | undefined {
  try {
    return redirectTarget(from, address);
  } catch {
    return undefined;
  }
}
