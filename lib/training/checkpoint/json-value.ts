/** A value that survives a JSON round trip unchanged. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** Maximal nesting; the JSON reader's limit is higher. */
const MAX_DEPTH = 200;

/**
 * The path of a part that JSON would change or drop (a number that is not finite, undefined, a bigint, a Date, a typed
 * array, a cycle, a very deep nest), as `.a[2].b`; undefined if there is none.
 */
export function findNonJson(value: unknown, path = "", above: readonly object[] = []): string | undefined {
  if (value === null || typeof value === "boolean" || typeof value === "string") return undefined;
  if (typeof value === "number") return Number.isFinite(value) ? undefined : path;
  if (typeof value !== "object" || above.includes(value) || above.length >= MAX_DEPTH) return path;
  const inside = [...above, value];
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found = findNonJson(value[i], `${path}[${i}]`, inside);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (!isPlain(value)) return path;
  for (const [key, item] of Object.entries(value)) {
    const found = findNonJson(item, `${path}.${key}`, inside);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A plain object of any realm: without a prototype, or whose prototype has none. */
function isPlain(value: object): boolean {
  const prototype: object | null = Object.getPrototypeOf(value);
  return prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf"));
}
