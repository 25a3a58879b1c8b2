import type { FastifyRequest } from "fastify";
import { HttpError } from "../errors.js";
import { invalidOption } from "../options.js";
import { clientOf } from "./clients.js";
import { bearerOf, digest, readSecrets } from "./secret-file.js";

/** Shorter keys could be guessed. */
const LEAST = 16;

/** Returns the client that a request counts for; throws a 401. */
export type KeyCheck = (request: Pick<FastifyRequest, "headers" | "ip" | "socket">) => string;

/** Clients are told apart by their keys, or without keys by their addresses. */
export function createKeyCheck(file: string | undefined): KeyCheck {
  if (file === undefined) return clientOf;
  const keys = readSecrets("apiKeysFile", file);
  if (keys.some((key) => key.length < LEAST || /\s/.test(key)))
    throw invalidOption(`apiKeysFile: a key in ${file} has fewer than ${LEAST} characters, or white space`);
  // The name of a client in logs: the beginning of its key's digest, which does not give the key away.
  const clients = new Map(keys.map((key) => [digest(key).toString("hex"), `key ${digest(key).toString("hex", 0, 4)}`]));
  return ({ headers }) => {
    const key = bearerOf(headers.authorization);
    const client = key === undefined ? undefined : clients.get(digest(key).toString("hex"));
    if (client !== undefined) return client;
    const problem = key === undefined ? "a key is needed, as Authorization: Bearer KEY" : "the key is unknown";
    throw new HttpError(401, "ERR_UNAUTHORIZED", problem);
  };
}
