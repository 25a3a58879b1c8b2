import type { FastifyRequest } from "fastify";
import { unknownOption } from "../core/known-options.js";
import { HttpError } from "./errors.js";
import type { Schema } from "./fields.js";

/**
 * Prepares a body for its schema: clients write `image[]` for a list, and null for what they leave out.
 *
 * @throws a 400 for a field that there is not, such as a misspelt one; dropping it would give another image than the one asked for
 */
export function tidyBody(request: FastifyRequest, schema: Schema): void {
  const { body } = request;
  if (typeof body !== "object" || body === null || Array.isArray(body)) return;
  const known = Object.keys(schema.properties as object);
  const tidied: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(body)) {
    const name = key.replace(/\[\d*\]$/, "");
    if (!known.includes(name))
      throw new HttpError(400, "ERR_INVALID_ARGUMENT", unknownOption(name, known).message, { param: name });
    if (value === null) continue;
    tidied[name] = name in tidied ? [tidied[name], value].flat() : value;
  }
  request.body = tidied;
}
