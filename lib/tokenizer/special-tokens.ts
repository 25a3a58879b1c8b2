import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import type { AddedToken } from "./added-vocabulary.js";

/** A JSON object as read, nothing known about its values yet. */
export type Json = Readonly<Record<string, unknown>>;

export function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The parsed files of a tokenizer folder that define tokens; missing ones are undefined. */
export interface TokenSources {
  readonly config: Json | undefined;
  readonly specialTokensMap: Json | undefined;
  readonly addedTokens: Json | undefined;
  readonly tokenizer: Json | undefined;
}

export interface SpecialTokens {
  readonly bos: string;
  readonly eos: string;
  readonly unk: string;
  /** null: configured without one, so that padding is not possible. */
  readonly pad: string | null;
  /** Every token to match in the text, in the order in which they are numbered. */
  readonly added: AddedToken[];
}

/** A configured token object; the default of `normalized` depends on whether the token is special. */
interface ConfiguredToken extends Omit<AddedToken, "normalized"> {
  readonly normalized: boolean | undefined;
}

/** A plain string is kept as such, since it overrides flags differently than a token object. */
type TokenValue = string | ConfiguredToken;

const NAMED = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const DEFAULTS: readonly (readonly [string, TokenValue])[] = [
  ["bos_token", "<|startoftext|>"],
  ["eos_token", "<|endoftext|>"],
  ["unk_token", "<|endoftext|>"],
  ["pad_token", "<|endoftext|>"],
];

const MAX_TOKEN_LENGTH = 1024;
const MAX_ADDED_CHARACTERS = 2 ** 20;

function invalid(where: string, expected: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_TOKENIZER", `${where} must be ${expected}`);
}

function flag(token: Json, name: string, where: string): boolean | undefined {
  const value = token[name] ?? undefined;
  if (value !== undefined && typeof value !== "boolean") throw invalid(`${where}.${name}`, "true or false");
  return value;
}

function tokenObject(value: Json, where: string, special?: boolean): ConfiguredToken {
  if (typeof value.content !== "string") throw invalid(`${where}.content`, "a string");
  return {
    content: value.content,
    singleWord: flag(value, "single_word", where) ?? false,
    lstrip: flag(value, "lstrip", where) ?? false,
    rstrip: flag(value, "rstrip", where) ?? false,
    normalized: flag(value, "normalized", where),
    special: special ?? flag(value, "special", where) ?? false,
  };
}

function tokenValue(value: unknown, where: string, special?: boolean): TokenValue {
  if (typeof value === "string") return value;
  if (isJson(value)) return tokenObject(value, where, special);
  throw invalid(where, "a string or a token object");
}

function contentOf(token: TokenValue): string {
  return typeof token === "string" ? token : token.content;
}

function normalizedOf(token: ConfiguredToken): boolean {
  return token.normalized ?? !token.special;
}

/** A key that is equal for equal tokens. */
function keyOf(token: TokenValue): string {
  if (typeof token === "string") return token;
  const { content, singleWord, lstrip, rstrip, special } = token;
  return JSON.stringify([content, singleWord, lstrip, rstrip, special, normalizedOf(token)]);
}

/** Tokens in order of addition, without duplicates. A string and a token object are never equal. */
class TokenSet {
  readonly tokens: TokenValue[] = [];
  readonly #texts = new Set<string>();
  readonly #objects = new Set<string>();

  add(token: TokenValue): void {
    const keys = typeof token === "string" ? this.#texts : this.#objects;
    const key = keyOf(token);
    if (keys.has(key)) return;
    keys.add(key);
    this.tokens.push(token);
  }
}

/** Named tokens (null: none) and further special tokens from the configuration files. */
interface Configured {
  readonly named: Map<string, TokenValue | null>;
  readonly extra: TokenSet;
  /**
   * Contents, by key, that make a token of `added_tokens.json` special. In the reference these exclude defaults and
   * token objects of `tokenizer_config.json`.
   */
  readonly marking: Map<string, string>;
}

function readNamed(source: Json | undefined, file: string, special: boolean | undefined, into: Configured): void {
  const mark = (key: string, value: unknown, token: TokenValue) => {
    if (typeof value === "string" || special) into.marking.set(key, contentOf(token));
    else into.marking.delete(key);
  };
  for (const [key, value] of Object.entries(source ?? {})) {
    const where = `${file}: ${key}`;
    if (NAMED.includes(key)) {
      const token = value === null ? null : tokenValue(value, where, special);
      into.named.set(key, token);
      if (token !== null) mark(key, value, token);
    } else if (key.endsWith("_token") && (typeof value === "string" || (isJson(value) && "content" in value)))
      into.named.set(key, tokenValue(value, where, special));
  }
  const { extra_special_tokens: extra, additional_special_tokens: additional } = source ?? {};
  if (isJson(extra)) {
    for (const [key, value] of Object.entries(extra))
      into.named.set(key, tokenValue(value, `${file}: ${key}`, special));
  } else {
    for (const [token, value] of tokenList(extra, `${file}: extra_special_tokens`, special)) {
      mark(`extra ${contentOf(token)}`, value, token);
      into.extra.add(token);
    }
  }
  // The older name is used only if the newer one is empty.
  if (into.extra.tokens.length > 0) return;
  for (const [token, value] of tokenList(additional, `${file}: additional_special_tokens`, special)) {
    if (!special) mark(`extra ${contentOf(token)}`, value, token);
    into.extra.add(token);
  }
}

function tokenList(value: unknown, where: string, special: boolean | undefined): (readonly [TokenValue, unknown])[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(where, "a list of tokens");
  return value.map((item, index) => [tokenValue(item, `${where}[${index}]`, special), item]);
}

function tokenId(text: string, where: string): number {
  const id = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(id)) throw invalid(where, "numbered by whole numbers");
  return id;
}

/** Tokens listed with ids in the files, in order of id. */
function listedTokens(sources: TokenSources, configured: Configured): ConfiguredToken[] {
  const byId = new Map<number, ConfiguredToken>();
  const decoder = sources.config?.added_tokens_decoder;
  if (decoder !== undefined) {
    const where = "tokenizer_config.json: added_tokens_decoder";
    if (!isJson(decoder)) throw invalid(where, "an object");
    for (const [id, value] of Object.entries(decoder)) {
      if (!isJson(value)) throw invalid(`${where}[${id}]`, "a token object");
      byId.set(tokenId(id, where), tokenObject(value, `${where}[${id}]`));
    }
  } else {
    const special = new Set(configured.marking.values());
    for (const [content, id] of Object.entries(sources.addedTokens ?? {})) {
      const where = `added_tokens.json: ${quote(content)}`;
      const isSpecial = special.has(content);
      byId.set(tokenId(String(id), where), {
        content,
        singleWord: false,
        lstrip: false,
        rstrip: false,
        normalized: !isSpecial,
        special: isSpecial,
      });
    }
    const serialized = sources.tokenizer?.added_tokens ?? [];
    if (!Array.isArray(serialized)) throw invalid("tokenizer.json: added_tokens", "a list");
    for (const [index, value] of serialized.entries()) {
      const where = `tokenizer.json: added_tokens[${index}]`;
      if (!isJson(value)) throw invalid(where, "a token object");
      byId.set(tokenId(String(value.id), where), tokenObject(value, where));
    }
  }
  return [...byId].sort(([a], [b]) => a - b).map(([, token]) => token);
}

function nameOf(configured: Configured, key: string): string | null {
  const token = configured.named.get(key) ?? null;
  if (token === null) return null;
  if (contentOf(token) === "") throw invalid(`tokenizer_config.json: ${key}`, "a token that is not empty");
  return contentOf(token);
}

function required(configured: Configured, key: string): string {
  const name = nameOf(configured, key);
  if (name === null) throw invalid(`tokenizer_config.json: ${key}`, "a token, not null");
  return name;
}

/**
 * Which tokens are special, and which tokens are matched in the text, with the precedence of `transformers`:
 * `added_tokens_decoder` of `tokenizer_config.json` settles it alone; else `special_tokens_map.json` overrides
 * `tokenizer_config.json`, and `added_tokens.json` and the `added_tokens` of `tokenizer.json` add theirs.
 */
export function readSpecialTokens(sources: TokenSources): SpecialTokens {
  const configured: Configured = { named: new Map(DEFAULTS), extra: new TokenSet(), marking: new Map() };
  readNamed(sources.config, "tokenizer_config.json", undefined, configured);
  if (sources.config?.added_tokens_decoder === undefined)
    readNamed(sources.specialTokensMap, "special_tokens_map.json", true, configured);

  const listed = listedTokens(sources, configured);
  const listedByContent = new Set(listed.map(({ content }) => content));
  const adding = new TokenSet();
  for (const token of listed) adding.add(token);
  const namedContents = new Set<string>();
  const inOrder = [...NAMED, ...[...configured.named.keys()].filter((key) => !NAMED.includes(key))];
  for (const key of inOrder) {
    const token = configured.named.get(key) ?? null;
    if (token === null) continue;
    namedContents.add(contentOf(token));
    if (!listedByContent.has(contentOf(token))) adding.add(token);
  }
  for (const token of configured.extra.tokens) if (!listedByContent.has(contentOf(token))) adding.add(token);
  checkLengths(adding.tokens);

  return {
    bos: required(configured, "bos_token"),
    eos: required(configured, "eos_token"),
    unk: required(configured, "unk_token"),
    pad: nameOf(configured, "pad_token"),
    added: adding.tokens.map((token) => resolved(token, namedContents)),
  };
}

/** Limits of time and memory: every position of a text may be compared with the longest token, and the trie holds every character. */
function checkLengths(tokens: readonly TokenValue[]): void {
  let total = 0;
  for (const token of tokens) {
    const { length } = contentOf(token);
    total += length;
    if (length > MAX_TOKEN_LENGTH)
      throw invalid(`the added token ${quote(contentOf(token))}`, `of at most ${MAX_TOKEN_LENGTH} characters`);
  }
  if (total > MAX_ADDED_CHARACTERS)
    throw invalid("the added tokens", `of at most ${MAX_ADDED_CHARACTERS} characters in all`);
}

function resolved(token: TokenValue, named: ReadonlySet<string>): AddedToken {
  if (typeof token === "string")
    return { content: token, singleWord: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const special = token.special || named.has(token.content);
  return { ...token, special, normalized: token.normalized ?? !special };
}
