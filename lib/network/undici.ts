import { createRequire } from "node:module";

let loaded: typeof import("undici") | undefined;

/** The library for HTTP, loaded at the first request: that takes longer than all other modules of a command together. */
export function undici(): typeof import("undici") {
  return (loaded ??= createRequire(import.meta.url)("undici") as typeof import("undici"));
}
