import { InstructPix2PixError } from "../../core/errors.js";
import { unquoted } from "./quotes.js";
import type { PromptNode, PromptOption, PromptPart, PromptTree } from "./tree.js";

/** Characters of the grammar; a backslash before one of them makes it text. */
const SYNTAX = new Set('()",.+-=');
const WHITE = new Set(" \t\n\r");
/** Deeper ones are no prompt that somebody wrote. */
const MAX_DEPTH = 50;

/** What a rule made of the text from a position on, and where it ended; undefined if it does not apply. */
type Match<T> = { readonly value: T; readonly end: number } | undefined;

/**
 * Parses a prompt in the grammar of Compel (https://github.com/damian0815/compel), with its precedence: the first
 * alternative that applies counts, as in a parsing expression grammar. What is no syntax is text, so any prompt without
 * one of the operators means what it says. Every rule is tried at most once at every position.
 *
 * @throws `ERR_INVALID_ARGUMENT` for parentheses nested more than 50 deep, or text behind a `.blend()`
 */
export function parsePrompt(text: string): PromptTree {
  const rules = new Rules(text, 0);
  const conjunction = rules.operation(0, [".and", ".add"]);
  if (conjunction) {
    const { prompts, options } = conjunction.value;
    const parts = prompts.map((nodes): PromptPart => ({ kind: "prompt", nodes }));
    return { parts, options, ignored: text.slice(conjunction.end).trim() };
  }
  const leading = rules.many(0, (at) => rules.lora(at));
  const blend = rules.operation(leading.end, [".blend"]);
  if (!blend) return { parts: [{ kind: "prompt", nodes: rules.prompt(0).value }], options: [], ignored: "" };
  const trailing = rules.many(blend.end, (at) => rules.lora(at));
  if (rules.skip(trailing.end) < text.length)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `a prompt's .blend() must be all of it; behind it stands ${JSON.stringify(text.slice(trailing.end).trim().slice(0, 40))}`,
    );
  const loras = [...leading.value, ...trailing.value].flat();
  const parts: PromptPart[] = [{ kind: "blend", ...blend.value }];
  if (loras.length > 0) parts.push({ kind: "prompt", nodes: loras });
  return { parts, options: [], ignored: "" };
}

/** The rules of the grammar on one text. */
class Rules {
  readonly #text: string;
  readonly #depth: number;
  readonly #known = new Map<string, Map<number, Match<unknown>>>();
  #nesting = 0;

  constructor(text: string, depth: number) {
    this.#text = text;
    this.#depth = depth;
  }

  skip(at: number): number {
    let end = at;
    while (WHITE.has(this.#text[end]!)) end++;
    return end;
  }

  /** Remembers what a rule came to at a position. */
  #once<T>(rule: string, at: number, work: () => Match<T>): Match<T> {
    let known = this.#known.get(rule);
    if (!known) this.#known.set(rule, (known = new Map()));
    if (known.has(at)) return known.get(at) as Match<T>;
    const match = work();
    known.set(at, match);
    return match;
  }

  many<T>(at: number, rule: (at: number) => Match<T>): { value: T[]; end: number } {
    const value: T[] = [];
    let end = at;
    for (let next = rule(end); next; next = rule(end)) {
      value.push(next.value);
      if (next.end === end) break;
      end = next.end;
    }
    return { value, end };
  }

  #literal(at: number, text: string): number | undefined {
    const start = this.skip(at);
    return this.#text.startsWith(text, start) ? start + text.length : undefined;
  }

  #pattern(at: number, pattern: RegExp): Match<string> {
    pattern.lastIndex = this.skip(at);
    const found = pattern.exec(this.#text);
    return found ? { value: found[0], end: pattern.lastIndex } : undefined;
  }

  #number(at: number): Match<number> {
    const found = this.#pattern(at, /[+-]?(?:\d+\.\d*|\.\d+)/y) ?? this.#pattern(at, /-?\d+/y);
    return found && { value: Number(found.value), end: found.end };
  }

  #keyword(at: number): Match<string> {
    return this.#pattern(at, /[A-Za-z0-9_-]+/y);
  }

  /** Text without syntax; a sign belongs to it if a character without meaning follows. */
  #word(at: number): Match<PromptNode[]> {
    return this.#once("word", at, () => {
      const text = this.#text;
      const start = this.skip(at);
      let end = start;
      for (; end < text.length; end++) {
        const character = text[end]!;
        const next = text[end + 1];
        if (character === "\\" && next !== undefined && SYNTAX.has(next)) end++;
        else if (character === "+" || character === "-") {
          if (next === undefined || WHITE.has(next) || SYNTAX.has(next)) break;
        } else if (WHITE.has(character) || SYNTAX.has(character)) break;
      }
      return end > start ? { value: [textNode(text.slice(start, end))], end } : undefined;
    });
  }

  /** Whatever stands between two spaces. */
  #freeWord(at: number): Match<PromptNode[]> {
    let end = at;
    while (end < this.#text.length && !WHITE.has(this.#text[end]!)) end++;
    return end > at ? { value: [textNode(this.#text.slice(at, end))], end } : undefined;
  }

  #quoted(at: number, content: "fragment" | "prompt" = "fragment"): Match<PromptNode[]> {
    return this.#once(`quoted ${content}`, at, () => {
      const found = unquoted(this.#text, this.skip(at));
      if (!found) return undefined;
      if (found.content.trim() === "") return { value: [textNode("")], end: found.end };
      const inner = new Rules(found.content.replaceAll('"', '\\"'), this.#depth + this.#nesting + 1);
      const whole = inner.whole(content);
      return whole && { value: whole, end: found.end };
    });
  }

  /** All of the text as a fragment or a prompt; undefined if there is more. */
  whole(as: "fragment" | "prompt"): PromptNode[] | undefined {
    const { value, end } = as === "prompt" ? this.prompt(0) : this.#fragment(0, true);
    return this.skip(end) === this.#text.length ? value : undefined;
  }

  #parenthesized(at: number): Match<PromptNode[]> {
    return this.#once("parenthesized", at, () => {
      const open = this.#literal(at, "(");
      if (open === undefined) return undefined;
      if (this.#depth + ++this.#nesting > MAX_DEPTH)
        throw new InstructPix2PixError(
          "ERR_INVALID_ARGUMENT",
          `a weighted prompt nests parentheses more than ${MAX_DEPTH} deep`,
        );
      const { value, end } = this.#fragment(open, true);
      this.#nesting--;
      const close = this.#literal(end, ")");
      return close === undefined ? undefined : { value, end: close };
    });
  }

  /** The inside of parentheses and quotation marks, with commas and full stops or without. */
  #fragment(at: number, punctuation: boolean): { value: PromptNode[]; end: number } {
    const { value, end } = this.many(
      at,
      (at) =>
        this.lora(at) ??
        this.#attention(at) ??
        this.#swap(at) ??
        this.#parenthesized(at) ??
        this.#quoted(at) ??
        this.#word(at) ??
        (punctuation ? this.#punctuation(at) : undefined),
    );
    return { value: value.flat(), end };
  }

  #punctuation(at: number): Match<PromptNode[]> {
    const found = this.#pattern(at, /[,.]/y);
    return found && { value: [textNode(found.value)], end: found.end };
  }

  /** What an operator applies to. */
  #target(at: number): Match<PromptNode[]> {
    return this.#quoted(at) ?? this.#parenthesized(at) ?? this.#word(at);
  }

  #attention(at: number): Match<PromptNode[]> {
    return this.#once("attention", at, () => this.#attend(at) ?? this.#weighted(at));
  }

  /** `target.attend(weight)` */
  #attend(at: number): Match<PromptNode[]> {
    const target = this.#target(at);
    const dot = target && this.#literal(target.end, ".attend");
    const open = dot === undefined ? undefined : this.#literal(dot, "(");
    const weight = open === undefined ? undefined : (this.#signs(open) ?? this.#number(open));
    const close = weight && this.#literal(weight.end, ")");
    if (close === undefined) return undefined;
    return { value: [{ kind: "attention", weight: weight!.value, children: target!.value }], end: close };
  }

  /** `(target)1.2`, `"target"++`, `word--`: a number only behind parentheses and quotation marks. */
  #weighted(at: number): Match<PromptNode[]> {
    const enclosed = this.#quoted(at) ?? this.#parenthesized(at);
    for (const [target, weigh] of [
      [enclosed, (end: number) => this.#signs(end) ?? this.#number(end)],
      [this.#word(at), (end: number) => this.#signs(end)],
    ] as const) {
      if (!target || WHITE.has(this.#text[target.end]!)) continue;
      const weight = weigh(target.end);
      if (weight)
        return { value: [{ kind: "attention", weight: weight.value, children: target.value }], end: weight.end };
    }
    return undefined;
  }

  #signs(at: number): Match<number> {
    const found = this.#pattern(at, /\++|-+/y);
    return found && { value: (found.value[0] === "+" ? 1.1 : 0.9) ** found.value.length, end: found.end };
  }

  /** `target.swap(replacement)` */
  #swap(at: number): Match<PromptNode[]> {
    return this.#once("swap", at, () => {
      const target = this.#target(at);
      const dot = target && this.#literal(target.end, ".swap");
      const open = dot === undefined ? undefined : this.#literal(dot, "(");
      if (open === undefined) return undefined;
      const replacement = this.#fragment(open, false).end;
      const comma = this.#literal(replacement, ",");
      const close = this.#literal(comma === undefined ? replacement : this.#options(comma).end, ")");
      return close === undefined ? undefined : { value: [{ kind: "swap", original: target!.value }], end: close };
    });
  }

  /** `withLora(name, weight)` */
  lora(at: number): Match<PromptNode[]> {
    const trigger = this.#literal(at, "useLora") ?? this.#literal(at, "withLora");
    const open = trigger === undefined ? undefined : this.#literal(trigger, "(");
    const name = open === undefined ? undefined : this.#keyword(open);
    if (!name) return undefined;
    const comma = this.#literal(name.end, ",");
    const weight = comma === undefined ? undefined : this.#number(comma);
    const close = this.#literal(weight?.end ?? name.end, ")");
    return close === undefined ? undefined : { value: [{ kind: "lora", name: name.value }], end: close };
  }

  prompt(at: number): { value: PromptNode[]; end: number } {
    const { value, end } = this.many(
      at,
      (at) =>
        this.#swap(at) ??
        this.lora(at) ??
        this.#attention(at) ??
        this.#quoted(at) ??
        this.#parenthesized(at) ??
        this.#freeWord(this.skip(at)),
    );
    return { value: value.flat(), end };
  }

  /** `(prompt, prompt).operator(options)` */
  operation(
    at: number,
    operators: readonly string[],
  ): Match<{ prompts: PromptNode[][]; options: readonly PromptOption[] }> {
    const open = this.#literal(at, "(");
    if (open === undefined) return undefined;
    const item = (at: number) => this.#target(at) ?? this.#quoted(at, "prompt");
    const prompts = this.#list(open, item);
    const close = prompts.value.length > 0 ? this.#literal(prompts.end, ")") : undefined;
    const operator =
      close === undefined ? undefined : operators.map((name) => this.#literal(close, name)).find(Boolean);
    const options = operator === undefined ? undefined : this.#literal(operator, "(");
    if (options === undefined) return undefined;
    const { value, end } = this.#options(options);
    const last = this.#literal(end, ")");
    return last === undefined ? undefined : { value: { prompts: prompts.value, options: value }, end: last };
  }

  #options(at: number): { value: PromptOption[]; end: number } {
    return this.#list(at, (at): Match<PromptOption> => {
      const keyword = this.#keyword(at);
      const equals = keyword && this.#literal(keyword.end, "=");
      if (equals !== undefined) {
        const value = this.#number(equals) ?? this.#keyword(equals);
        if (value) return { value: { name: keyword!.value, value: String(value.value) }, end: value.end };
      }
      const number = this.#number(at);
      if (number) return { value: { name: String(number.value), value: undefined }, end: number.end };
      return keyword && { value: { name: keyword.value, value: undefined }, end: keyword.end };
    });
  }

  /** Items between commas; none is a list too. */
  #list<T>(at: number, item: (at: number) => Match<T>): { value: T[]; end: number } {
    const first = item(at);
    if (!first) return { value: [], end: at };
    const rest = this.many(first.end, (at) => {
      const comma = this.#literal(at, ",");
      return comma === undefined ? undefined : item(comma);
    });
    return { value: [first.value, ...rest.value], end: rest.end };
  }
}

function textNode(text: string): PromptNode {
  return { kind: "text", text };
}
