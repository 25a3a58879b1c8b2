import { isError } from "../core/errors.js";

type Outcome<T> = { value: T; error?: undefined } | { value?: undefined; error: { reason: unknown } };

/** The result of work. Any value can be thrown, including `undefined`, so the reason is wrapped in an object. */
export async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work };
  } catch (reason) {
    return { error: { reason } };
  }
}

/** The message of a thrown value. */
export function messageOf(error: unknown): string {
  return isError(error) ? error.message : String(error);
}
