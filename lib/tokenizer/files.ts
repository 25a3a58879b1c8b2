import { stat } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "../core/arguments.js";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { allInOrder } from "../core/settled.js";
import { parseObject } from "../files/config.js";
import { nestsTooDeep, toJson } from "../files/json.js";
import { readTextFile } from "../files/text-file.js";
import type { BytePairFiles } from "./byte-pair-encoding.js";
import { isJson, type Json, readSpecialTokens, type SpecialTokens } from "./special-tokens.js";

/** The validated content of a tokenizer folder. */
export interface TokenizerFiles extends BytePairFiles {
  readonly specialTokens: SpecialTokens;
  readonly modelMaxLength: number;
  readonly paddingSide: Side;
  readonly truncationSide: Side;
  readonly splitSpecialTokens: boolean;
  /** The files by their names, for saving: with the padding token that was given instead. */
  readonly contents: ReadonlyMap<string, Buffer>;
}

export type Side = "left" | "right";

/** The length of every published CLIP text encoder; the default. */
const DEFAULT_MAX_LENGTH = 77;

function malformed(path: string, what: string, cause?: unknown): InstructPix2PixError {
  return new InstructPix2PixError("ERR_TOKENIZER", `${path}: ${what}`, { cause });
}

/** Far above CLIP's vocabularies, of 2 MB: reading one of this size takes seconds. */
const MAX_BYTES = 32 * 2 ** 20;
const MAX_OPTIONS_BYTES = 16 * 2 ** 20;

const MODEL_FILES = ["tokenizer.json", "vocab.json", "merges.txt"] as const;
const OPTION_FILES = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"] as const;

type FileName = (typeof MODEL_FILES)[number] | (typeof OPTION_FILES)[number];
type Texts = Partial<Record<FileName, string>>;

async function readOptional(path: string, maxBytes: number): Promise<string | undefined> {
  try {
    return await readTextFile(path, { maxBytes, code: "ERR_TOKENIZER" });
  } catch (error) {
    if (isInstructPix2PixError(error, "ERR_FILE_NOT_FOUND")) return undefined;
    throw error;
  }
}

/** All that a tokenizer can be made of here or in transformers, so that it can be saved whatever becomes of its folder. */
async function readTexts(folder: string): Promise<Texts> {
  const read = (names: readonly FileName[], maxBytes: number) =>
    names.map(async (name) => [name, await readOptional(join(folder, name), maxBytes)] as const);
  const found = await allInOrder([...read(MODEL_FILES, MAX_BYTES), ...read(OPTION_FILES, MAX_OPTIONS_BYTES)]);
  return Object.fromEntries(found.filter(([, text]) => text !== undefined));
}

/** Parses a tokenizer's options, in Python's JSON dialect. */
function parseOptions(text: string | undefined, path: string): Json | undefined {
  return text === undefined ? undefined : parseObject(text, path, "ERR_TOKENIZER");
}

/** Parses a vocabulary: a megabyte of plain JSON, for which the built-in parser is several times faster. */
function parseVocabulary(text: string | undefined, path: string): Json | undefined {
  if (text === undefined) return undefined;
  let value: unknown;
  if (nestsTooDeep(text)) throw malformed(path, "is nested too deep");
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw malformed(path, "is not valid JSON", error);
  }
  if (!isJson(value)) throw malformed(path, "must hold a JSON object");
  return value;
}

function checkVocabulary(value: unknown, path: string): Readonly<Record<string, number>> {
  if (!isJson(value)) throw malformed(path, "the vocabulary must be an object of tokens and their ids");
  for (const [token, id] of Object.entries(value))
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > 0xffffffff)
      throw malformed(path, `the id of token ${quote(token)} must be a whole number of 32 bits`);
  return value as Record<string, number>;
}

function checkMerge(
  parts: unknown,
  vocab: Readonly<Record<string, number>>,
  path: string,
  where: string,
): readonly [string, string] {
  if (!Array.isArray(parts) || parts.length !== 2 || parts.some((part) => typeof part !== "string"))
    throw malformed(path, `${where} must be two tokens with one space between`);
  const [left, right] = parts as [string, string];
  for (const token of [left, right, left + right])
    if (!Object.hasOwn(vocab, token))
      throw malformed(path, `${where} needs the token ${quote(token)}, which the vocabulary lacks`);
  return [left, right];
}

function parseVocabularyFiles(folder: string, texts: Texts): BytePairFiles {
  const vocabPath = join(folder, "vocab.json");
  const mergesPath = join(folder, "merges.txt");
  const vocabJson = parseVocabulary(texts["vocab.json"], vocabPath);
  const mergesText = texts["merges.txt"];
  if (vocabJson === undefined || mergesText === undefined) {
    const missing = vocabJson === undefined ? vocabPath : mergesPath;
    throw new InstructPix2PixError(
      "ERR_FILE_NOT_FOUND",
      `${missing}: no such file; a tokenizer is vocab.json with merges.txt, or tokenizer.json`,
    );
  }
  const vocab = checkVocabulary(vocabJson, vocabPath);
  const lines = mergesText.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  const merges = lines.flatMap((line, index) =>
    line.startsWith("#version") ? [] : [checkMerge(line.split(" "), vocab, mergesPath, `line ${index + 1}`)],
  );
  return { vocab, merges };
}

function modelOf(tokenizer: Json, path: string): BytePairFiles {
  const model = tokenizer.model;
  if (!isJson(model)) throw malformed(path, "model must be an object");
  if ((model.type ?? "BPE") !== "BPE")
    throw malformed(path, `model.type is ${describe(model.type)}; CLIP's tokenizer is "BPE"`);
  const vocab = checkVocabulary(model.vocab, path);
  if (!Array.isArray(model.merges)) throw malformed(path, "model.merges must be a list");
  const merges = model.merges.map((merge: unknown, index) =>
    checkMerge(typeof merge === "string" ? merge.split(" ") : merge, vocab, path, `model.merges[${index}]`),
  );
  return { vocab, merges };
}

function maxLength(config: Json | undefined, path: string): number {
  const length = config?.model_max_length ?? config?.max_len ?? DEFAULT_MAX_LENGTH;
  if (typeof length !== "number" || !(length >= 1)) throw malformed(path, "model_max_length must be a positive number");
  return length;
}

function side(config: Json | undefined, key: string, path: string, serialized: unknown): Side {
  const value = config?.[key] ?? (isJson(serialized) ? String(serialized.direction).toLowerCase() : "right");
  if (value !== "left" && value !== "right") throw malformed(path, `${key} must be "left" or "right"`);
  return value;
}

/**
 * Reads a tokenizer folder: `tokenizer.json` if there is one, else `vocab.json` and `merges.txt`, and the optional
 * `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`.
 *
 * @param padToken instead of the padding token of these files
 */
export async function readTokenizerFiles(folder: string, padToken?: string): Promise<TokenizerFiles> {
  if (!(await stat(folder).catch(() => undefined))?.isDirectory())
    throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `${folder}: no such tokenizer folder`);
  const configPath = join(folder, "tokenizer_config.json");
  const tokenizerPath = join(folder, "tokenizer.json");
  const texts = await readTexts(folder);
  const options = (name: (typeof OPTION_FILES)[number]) => parseOptions(texts[name], join(folder, name));
  const config = options("tokenizer_config.json");
  const specialTokensMap = options("special_tokens_map.json");
  const addedTokens = options("added_tokens.json");
  const tokenizer = parseVocabulary(texts["tokenizer.json"], tokenizerPath);
  const model = tokenizer === undefined ? parseVocabularyFiles(folder, texts) : modelOf(tokenizer, tokenizerPath);
  const instead = (source: Json | undefined) => (padToken === undefined ? source : { ...source, pad_token: padToken });
  const sources = {
    config: instead(config),
    specialTokensMap: specialTokensMap && instead(specialTokensMap),
    addedTokens,
    tokenizer,
  };
  if (sources.config !== config) texts["tokenizer_config.json"] = asJson(sources.config);
  if (sources.specialTokensMap !== specialTokensMap)
    texts["special_tokens_map.json"] = asJson(sources.specialTokensMap);
  return {
    ...model,
    specialTokens: readSpecialTokensIn(folder, sources),
    modelMaxLength: maxLength(config, configPath),
    paddingSide: side(config, "padding_side", configPath, tokenizer?.padding),
    truncationSide: side(config, "truncation_side", configPath, tokenizer?.truncation),
    splitSpecialTokens: config?.split_special_tokens === true,
    contents: new Map(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text)])),
  };
}

function asJson(options: Json | undefined): string {
  return `${toJson({ ...options }, 2)}\n`;
}

function readSpecialTokensIn(folder: string, sources: Parameters<typeof readSpecialTokens>[0]): SpecialTokens {
  try {
    return readSpecialTokens(sources);
  } catch (error) {
    if (!(error instanceof InstructPix2PixError)) throw error;
    throw new InstructPix2PixError(error.code, join(folder, error.message));
  }
}
