import { logWarning } from "./logger.js";

/** Limit on remembered warnings, since a long-running server may see any number of texts. */
const REMEMBERED = 1000;

/** Least recently emitted first. */
const told = new Set<string>();

/** Gives a warning to the logger, each text once per JavaScript environment as long as it is among the last 1000. */
export function warnOnce(message: string): void {
  const known = told.delete(message);
  told.add(message);
  if (known) return;
  if (told.size > REMEMBERED) told.delete(told.values().next().value!);
  logWarning(message);
}

/** Lets {@link warnOnce} give every text once more: for tests that share a process. */
export function forgetWarnings(): void {
  told.clear();
}
