/** An error in a JSON text, and its position: line and column count from 1, columns in UTF-16 units. */
export class JsonSyntaxError extends Error {
  readonly line: number;
  readonly column: number;

  constructor(what: string, text: string, position: number) {
    const before = text.slice(0, position);
    const line = before.split("\n").length;
    const column = position - before.lastIndexOf("\n");
    super(`${what} (line ${line}, column ${column})`);
    this.line = line;
    this.column = column;
  }
}

const MAX_DEPTH = 256;

/** Words that Python's json module reads and, for values that JSON has no notation for, writes. */
const LITERALS: readonly (readonly [string, null | boolean | number])[] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
];

const ESCAPES: Record<string, string> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", '"': '"', "\\": "\\", "/": "/" };

/**
 * Parses JSON as Python's `json.loads` does: that is RFC 8259, and the literals `NaN`, `Infinity` and `-Infinity`, which
 * diffusers writes into configurations. For a duplicate key the last value is used. `__proto__` is an ordinary key.
 *
 * @throws {@link JsonSyntaxError}; nesting deeper than 256 is one too
 */
export function parseJson(text: string): unknown {
  const parser = new Parser(text);
  const value = parser.value(0);
  parser.end();
  return value;
}

/**
 * JSON as Python's `json.dumps` writes it, with bare `NaN`, `Infinity` and `-Infinity`.
 *
 * @param floats keys of numbers that Python reads as floats, also where they are whole: 1.0
 */
export function toJson(value: unknown, indent?: number, floats: readonly string[] = []): string {
  const marked = JSON.stringify(
    value,
    (key, inner: unknown) => {
      if (typeof inner !== "number") return inner;
      if (!Number.isFinite(inner)) return `\0${inner}`;
      return floats.includes(key) && Number.isSafeInteger(inner) ? `\0${inner}.0` : inner;
    },
    indent,
  );
  return marked.replace(/"\\u0000(NaN|-?Infinity|-?\d+\.0)"/g, "$1");
}

/** Whether JSON is nested deeper than 256: the engine's own parser takes some 40 bytes for each level, and any number of them. */
export function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const c = text[at];
    if (c === '"') at = endOfString(text, at);
    else if (c === "[" || c === "{") {
      if (++depth > MAX_DEPTH) return true;
    } else if (c === "]" || c === "}") depth--;
  }
  return false;
}

/** Where the string that begins at a quote has its last one. */
function endOfString(text: string, begin: number): number {
  let at = begin + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}

class Parser {
  readonly #text: string;
  #position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): unknown {
    this.#skipWhiteSpace();
    const c = this.#text[this.#position];
    if (c === "{" || c === "[") {
      if (depth === MAX_DEPTH) this.#fail(`nested more than ${MAX_DEPTH} deep`);
      ++this.#position;
      return c === "{" ? this.#object(depth + 1) : this.#array(depth + 1);
    }
    if (c === '"') return this.#string();
    for (const [word, value] of LITERALS)
      if (this.#text.startsWith(word, this.#position)) {
        this.#position += word.length;
        return value;
      }
    return this.#number();
  }

  end(): void {
    this.#skipWhiteSpace();
    if (this.#position < this.#text.length) this.#fail("something follows the end of the value");
  }

  #fail(what: string): never {
    throw new JsonSyntaxError(what, this.#text, this.#position);
  }

  /** The match at the current position, which moves past it. */
  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    const match = pattern.exec(this.#text)?.[0];
    if (match !== undefined) this.#position += match.length;
    return match;
  }

  #skipWhiteSpace(): void {
    this.#take(/[ \t\n\r]*/y);
  }

  #consume(c: string): boolean {
    this.#skipWhiteSpace();
    if (this.#text[this.#position] !== c) return false;
    ++this.#position;
    return true;
  }

  #object(depth: number): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    if (this.#consume("}")) return result;
    do {
      this.#skipWhiteSpace();
      if (this.#text[this.#position] !== '"') this.#fail("expected a key in double quotes");
      const key = this.#string();
      if (!this.#consume(":")) this.#fail("expected ':' after a key");
      const value = this.value(depth);
      if (key === "__proto__")
        Object.defineProperty(result, key, { value, enumerable: true, configurable: true, writable: true });
      else result[key] = value;
    } while (this.#consume(","));
    if (!this.#consume("}")) this.#fail("expected ',' or '}'");
    return result;
  }

  #array(depth: number): unknown[] {
    const result: unknown[] = [];
    if (this.#consume("]")) return result;
    do result.push(this.value(depth));
    while (this.#consume(","));
    if (!this.#consume("]")) this.#fail("expected ',' or ']'");
    return result;
  }

  #string(): string {
    ++this.#position;
    let result = "";
    for (;;) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a string must not hold
      result += this.#take(/[^"\\\u0000-\u001f]*/y);
      const c = this.#text[this.#position];
      if (c === '"') {
        ++this.#position;
        return result;
      }
      if (c === undefined) this.#fail("a string without an end");
      if (c !== "\\") this.#fail("a control character in a string");
      result += this.#escape();
    }
  }

  #escape(): string {
    const kind = this.#text[this.#position + 1] ?? "";
    if (Object.hasOwn(ESCAPES, kind)) {
      this.#position += 2;
      return ESCAPES[kind]!;
    }
    const code = this.#take(/\\u[0-9a-fA-F]{4}/y);
    if (code === undefined) this.#fail("an unknown escape in a string");
    return String.fromCharCode(Number.parseInt(code.slice(2), 16));
  }

  #number(): number {
    const digits = this.#take(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y);
    if (digits === undefined) this.#fail("expected a value");
    return Number(digits);
  }
}
