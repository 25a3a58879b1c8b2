import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { invalidOption } from "../options.js";

/**
 * The lines of a file with secrets; empty ones and comments (#) do not count.
 *
 * @param option its name in errors
 * @throws `ERR_INVALID_ARGUMENT` if it cannot be read or is empty
 */
export function readSecrets(option: string, file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw invalidOption(`${option}: ${file} cannot be read`, cause);
  }
  const lines = text.split("\n").map((line) => line.trim());
  const secrets = lines.filter((line) => line !== "" && !line.startsWith("#"));
  if (secrets.length === 0) throw invalidOption(`${option}: ${file} is empty`);
  return secrets;
}

/** Secrets are compared by their digests, so that the time says nothing about how much of one is right. */
export function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** What stands behind `Bearer` in the header; undefined without one. */
export function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
}
