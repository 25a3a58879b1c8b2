import { datasetError } from "./errors.js";

/**
 * Whether a path matches a pattern as fsspec's `glob` reads it, which the `datasets` library finds its files with: `*`
 * and `?` stay within a folder, `**` is any number of folders, `[…]` a set, `[!…]` its complement.
 *
 * @throws `ERR_DATASET` for what is no such pattern
 */
export function globToRegExp(pattern: string): RegExp {
  const parts = pattern.split("/");
  let source = "";
  for (const [i, part] of parts.entries()) {
    const last = i === parts.length - 1;
    if (part === "**") source += last ? ".*" : "(?:.+/)?";
    else if (part.includes("**"))
      throw datasetError(`${JSON.stringify(pattern)}: ** can only be a whole part of a path`);
    else source += (part === "*" ? "[^/]+" : segmentSource(part)) + (last ? "" : "/");
  }
  try {
    return new RegExp(`^(?:${source})$`, "s");
  } catch (cause) {
    throw datasetError(`${JSON.stringify(pattern)} is not a pattern for file names`, cause);
  }
}

function segmentSource(segment: string): string {
  let source = "";
  for (let at = 0; at < segment.length; at++) {
    const character = segment[at]!;
    const negated = segment[at + 1] === "!";
    const end = character === "[" ? segment.indexOf("]", at + (negated ? 3 : 2)) : -1;
    if (character === "*") source += "[^/]*";
    else if (character === "?") source += "[^/]";
    else if (end > 0) {
      const set = segment.slice(at + (negated ? 2 : 1), end).replace(/[\\\]^[]/g, "\\$&");
      source += `[${negated ? "^" : ""}${set}]`;
      at = end;
    } else source += character.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  }
  return source;
}

/** Python's order of strings: by code points, where JavaScript's is by UTF-16 units. */
export function byCodePoints(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x === y) continue;
    // Surrogates, which stand for the highest code points, lie below some other units.
    const [high, low] = [x, y].map((unit) => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit));
    return high! - low!;
  }
  return a.length - b.length;
}

/** Parts of a path that the `datasets` library passes over unless a pattern names them: hidden ones, `__pycache__`. */
function unusualParts(path: string): { hidden: number; special: number } {
  const parts = path.split("/");
  return {
    hidden: parts.filter((part) => /^\.(?!\.*$)/.test(part)).length,
    special: parts.slice(0, -1).filter((part) => part.startsWith("__")).length,
  };
}

/** Those of the sorted paths that match, without hidden files and folders that the pattern does not name. */
export function matchPaths(paths: readonly string[], pattern: string): string[] {
  const test = globToRegExp(pattern);
  const named = unusualParts(pattern);
  return paths.filter((path) => {
    if (!test.test(path)) return false;
    const { hidden, special } = unusualParts(path);
    return hidden === named.hidden && special === named.special;
  });
}
