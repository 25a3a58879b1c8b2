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
