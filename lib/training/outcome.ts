import { isError } from "../errors.js";

type Outcome<T> = { value: T; error?: undefined } | { value?: undefined; error: { reason: unknown } };

/** What work came to. Anything can be thrown, `undefined` as well, so the reason has an object around it. */
export async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work };
  } catch (reason) {
    return { error: { reason } };
  }
}

/** What to say of something that was thrown. */
export function messageOf(error: unknown): string {
  return isError(error) ? error.message : String(error);
}
