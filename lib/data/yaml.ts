import { Composer, isAlias, isMap, isScalar, isSeq, type Node, type ParsedNode, Parser, type YAMLMap } from "yaml";
import { quote } from "../core/quote.js";
import { datasetError, reasonOf } from "./errors.js";

/** Far above the head of any card but those of hundreds of configurations; parsing takes seconds for a megabyte. */
const MAX_YAML = 512 * 1024;
const MAX_DEPTH = 64;
/** Aliases can multiply the content. */
const MAX_ALIASES = 100;

/**
 * Reads untrusted YAML in linear time.
 *
 * @param where what errors call it
 * @returns scalars, arrays, and objects without a prototype; keys that are no scalars are left out
 * @throws `ERR_DATASET` for malformed YAML, a key that an object has twice, more than 512 KiB, nesting deeper than 64,
 *   more than 100 aliases
 */
export function parseYaml(text: string, where: string): unknown {
  if (text.length > MAX_YAML)
    throw datasetError(`${where}: the YAML has ${text.length} characters, more than the allowed ${MAX_YAML}`);
  let contents: ParsedNode | null;
  try {
    // The library's own check of keys compares each with each.
    const composer = new Composer({ uniqueKeys: false, prettyErrors: false, logLevel: "silent" });
    const [document] = composer.compose(new CautiousParser().parse(text), true, text.length);
    contents = document!.contents as ParsedNode | null;
    const [error] = document!.errors;
    if (error) throw new Malformed(reasonOf(error), error.pos[0]);
  } catch (error) {
    if (error instanceof RangeError) throw datasetError(`${where}: the YAML is nested too deep`, error);
    if (error instanceof Malformed)
      throw datasetError(`${where}: the YAML is malformed: ${error.message}${placeOf(text, error.position)}`, error);
    throw error;
  }
  return new Reader(where).value(contents, 0);
}

/**
 * Gives up at the first error and while the depth is still harmless. What comes after it in the library calls itself for
 * each level, and where it meets the end of the stack within a regular expression, the engine ends the process; of
 * errors it collects all, which takes quadratic time.
 */
class CautiousParser extends Parser {
  override *next(source: string): ReturnType<Parser["next"]> {
    for (const token of super.next(source)) {
      if (token.type === "error") throw new Malformed(token.message, token.offset);
      yield token;
    }
    // The document and a scalar are on the stack too, and a flow collection in a block may be there twice.
    if (this.stack.length > 2 * MAX_DEPTH + 2) throw new RangeError(`more than ${MAX_DEPTH} levels`);
  }
}

class Malformed extends Error {
  constructor(
    message: string,
    readonly position: number,
  ) {
    super(message);
  }
}

function placeOf(text: string, position: number): string {
  const before = text.slice(0, position).split("\n");
  return ` at line ${before.length}, column ${before.at(-1)!.length + 1}`;
}

/** Converts the library's nodes to plain values. Aliased values are shared, not copied. */
class Reader {
  readonly #where: string;
  readonly #anchors = new Map<string, unknown>();
  #aliases = 0;

  constructor(where: string) {
    this.#where = where;
  }

  value(node: Node | null, depth: number): unknown {
    if (depth > MAX_DEPTH) throw this.#error(`is nested more than ${MAX_DEPTH} deep`);
    if (node === null) return null;
    if (isAlias(node)) return this.#alias(node.source);
    let value: unknown = null;
    if (isMap(node)) value = this.#object(node, depth);
    else if (isSeq(node)) value = node.items.map((item) => this.value(item as Node | null, depth + 1));
    else if (isScalar(node)) value = node.value;
    if ("anchor" in node && node.anchor) this.#anchors.set(node.anchor, value);
    return value;
  }

  #alias(name: string): unknown {
    if (++this.#aliases > MAX_ALIASES) throw this.#error(`has more than ${MAX_ALIASES} aliases`);
    if (!this.#anchors.has(name)) throw this.#error(`has no value that the alias ${quote(name)} names`);
    return this.#anchors.get(name);
  }

  #object(map: YAMLMap, depth: number): Record<string, unknown> {
    const result: Record<string, unknown> = Object.create(null);
    for (const { key, value } of map.items) {
      const name = this.value(key as Node | null, depth + 1);
      const read = this.value(value as Node | null, depth + 1);
      if (typeof name === "object" && name !== null) continue;
      if (Object.hasOwn(result, String(name))) throw this.#error(`has the key ${quote(String(name))} twice`);
      result[String(name)] = read;
    }
    return result;
  }

  #error(what: string) {
    return datasetError(`${this.#where}: the YAML ${what}`);
  }
}
