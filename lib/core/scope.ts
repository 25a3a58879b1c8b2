/** Disposes of added resources in reverse order at the end of the `using` block. */
export class Scope {
  readonly #parts: Disposable[] = [];

  add<T extends Disposable>(part: T): T {
    this.#parts.push(part);
    return part;
  }

  [Symbol.dispose](): void {
    for (const part of this.#parts.reverse()) part[Symbol.dispose]();
    this.#parts.length = 0;
  }
}

/** The asynchronous version; see {@link withAsyncScope}. */
export class AsyncScope {
  readonly #ends: (() => void | Promise<void>)[] = [];

  /** Calls `end` when the scope ends, before earlier entries' ends. */
  defer(end: () => void | Promise<void>): void {
    this.#ends.push(end);
  }

  add<T extends Disposable>(part: T): T {
    this.defer(() => part[Symbol.dispose]());
    return part;
  }

  /** Ends everything, also after failures. @throws the first failure */
  async end(): Promise<void> {
    let failure: { error: unknown } | undefined;
    for (let end = this.#ends.pop(); end; end = this.#ends.pop()) {
      try {
        await end();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure) throw failure.error;
  }
}

/**
 * Runs `body` and then ends everything in the scope, also if `body` throws. An error of `body` takes precedence over
 * errors of ending.
 */
export async function withAsyncScope<T>(body: (scope: AsyncScope) => Promise<T>): Promise<T> {
  const scope = new AsyncScope();
  let result: T;
  try {
    result = await body(scope);
  } catch (error) {
    await scope.end().catch(() => {});
    throw error;
  }
  await scope.end();
  return result;
}
