/** Disposes of what was added, last first, when the block that declared it with `using` ends. */
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

/** The same for parts that may take their time to end; see {@link withAsyncScope}. */
export class AsyncScope {
  readonly #ends: (() => void | Promise<void>)[] = [];

  /** Calls `end` when the scope ends, before the ends of what was there earlier. */
  defer(end: () => void | Promise<void>): void {
    this.#ends.push(end);
  }

  add<T extends Disposable>(part: T): T {
    this.defer(() => part[Symbol.dispose]());
    return part;
  }

  /** Ends everything, also if some of it fails. @throws what failed first */
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
 * Runs `body` and then ends all that it has put into the scope, whether it succeeds or throws. What `body` throws comes
 * before what ending throws, for it went wrong first.
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
