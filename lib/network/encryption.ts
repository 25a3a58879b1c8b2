import { warnOnce } from "../core/warn.js";

/** Whether a URL's host name, in the form that `URL` gives it, is this machine itself. */
function isLoopback(host: string): boolean {
  return /^(?:localhost|.*\.localhost|127(?:\.\d+){3}|\[::1\])$/.test(host);
}

/**
 * Warns, once for each server, if a secret is sent to another machine without encryption.
 *
 * @param variable the environment variable that names the server
 * @param secret what is sent, e.g. "the access token"
 */
export function warnIfUnencrypted(variable: string, server: URL, secret: string): void {
  if (server.protocol !== "http:" || isLoopback(server.hostname)) return;
  warnOnce(
    `${variable} is ${server.origin}: ${secret} is sent there without encryption, readable by anyone on the network; use an https address`,
  );
}
