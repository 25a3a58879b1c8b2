import { Scope } from "./scope.js";

/** Marks what {@link tidy} frees, and gives it back. */
export interface Use {
  <Part extends Disposable>(part: Part): Part;
  <Part extends Disposable>(part: Promise<Part>): Promise<Part>;
}

/**
 * Frees intermediate tensors, and anything else that is disposable: all that `use` was called with is freed when `work` ends,
 * also if it throws, but not what it returns, alone or in a list or an object.
 *
 * @example
 * ```js
 * import { Tensor, tidy } from "instruct-pix2pix";
 *
 * const [a, b] = [Tensor.from([1, 2]), Tensor.from([3, 4])];
 * const mean = await tidy(async (use) => {
 *   const [half, rest] = [await use(a.mul(0.5)), await use(b.mul(0.5))];
 *   return await half.add(rest);
 * });
 * console.log(await mean.toArray());
 * ```
 */
export async function tidy<Result>(work: (use: Use) => Result | Promise<Result>): Promise<Result> {
  const parts = new Set<Disposable>();
  const note = <Part extends Disposable>(part: Part): Part => {
    parts.add(part);
    return part;
  };
  const use = ((part: Disposable | Promise<Disposable>) =>
    part instanceof Promise ? part.then(note) : note(part)) as Use;
  using scope = new Scope();
  scope.add({ [Symbol.dispose]: () => freeAll(parts) });
  const result = await work(use);
  for (const kept of returned(result)) parts.delete(kept as Disposable);
  return result;
}

function freeAll(parts: ReadonlySet<Disposable>): void {
  for (const part of [...parts].reverse()) part[Symbol.dispose]();
}

/** The result, and what a list or a plain object holds. */
function returned(result: unknown): unknown[] {
  if (typeof result !== "object" || result === null) return [];
  const plain = Array.isArray(result) || Object.getPrototypeOf(Object.getPrototypeOf(result)) === null;
  return plain ? [result, ...Object.values(result)] : [result];
}
