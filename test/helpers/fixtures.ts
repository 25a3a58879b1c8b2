import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A path below test/fixtures. */
export function fixture(...parts: string[]): string {
  return join(fileURLToPath(new URL("../fixtures", import.meta.url)), ...parts);
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}
