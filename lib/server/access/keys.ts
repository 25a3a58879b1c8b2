import type { FastifyRequest } from "fastify";
import { quote } from "../../core/quote.js";
import { HttpError } from "../errors.js";
import { invalidOption } from "../options.js";
import { clientOf } from "./clients.js";
import { bearerOf, digest, readSecrets } from "./secret-file.js";

/** Shorter keys could be guessed. */
const LEAST = 16;

/** Returns the client that a request counts for; throws a 401. */
export type KeyCheck = (request: Pick<FastifyRequest, "headers" | "ip" | "socket">) => string;

/** What a client may do, where it differs from the server's options. */
export interface ClientLimits {
  places?: number;
  requestsPerMinute?: number;
}

/** The keys of a server. */
export interface Keys {
  /** Tells clients apart by their keys, or without keys by their addresses. */
  check: KeyCheck;
  /** The limits behind a client's key in the file. */
  limitsOf(client: string): ClientLimits;
}

/** @throws `ERR_INVALID_ARGUMENT` for a file that cannot be read, or a line that is not understood */
export function createKeys(file: string | undefined): Keys {
  if (file === undefined) return { check: clientOf, limitsOf: () => ({}) };
  const clients = new Map<string, string>();
  const limits = new Map<string, ClientLimits>();
  for (const line of readSecrets("apiKeysFile", file)) {
    const [key = "", ...words] = line.split(/\s+/);
    if (key.length < LEAST) throw invalidOption(`apiKeysFile: a key in ${file} has fewer than ${LEAST} characters`);
    // The name of a client in logs: the beginning of its key's digest, which does not give the key away.
    const client = `key ${digest(key).toString("hex", 0, 4)}`;
    clients.set(digest(key).toString("hex"), client);
    limits.set(client, readLimits(file, words));
  }
  const check: KeyCheck = ({ headers }) => {
    const key = bearerOf(headers.authorization);
    const client = key === undefined ? undefined : clients.get(digest(key).toString("hex"));
    if (client !== undefined) return client;
    const problem = key === undefined ? "a key is needed, as Authorization: Bearer KEY" : "the key is unknown";
    throw new HttpError(401, "ERR_UNAUTHORIZED", problem);
  };
  return { check, limitsOf: (client) => limits.get(client) ?? {} };
}

const LIMITS = { places: "places", requests_per_minute: "requestsPerMinute" } as const;

/** Words such as `places=4` behind a key. Messages do not quote them: a word may be a second key. */
function readLimits(file: string, words: readonly string[]): ClientLimits {
  const limits: ClientLimits = {};
  for (const word of words) {
    const [, name, value] = /^(places|requests_per_minute)=([1-9]\d{0,5})$/.exec(word) ?? [];
    if (name === undefined)
      throw invalidOption(
        `apiKeysFile: ${quote(file)} has something behind a key that is neither places=N nor requests_per_minute=N`,
      );
    limits[LIMITS[name as keyof typeof LIMITS]] = Number(value);
  }
  return limits;
}
