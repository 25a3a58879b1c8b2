import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toUSVString } from "node:util";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { ioError } from "../files/io-error.js";
import { AddedVocabulary } from "./added-vocabulary.js";
import { BytePairEncoding } from "./byte-pair-encoding.js";
import { decodeTokens } from "./decode.js";
import { readTokenizerFiles, type TokenizerFiles } from "./files.js";
import { normalizeText } from "./text.js";

/** Options of `CLIPTokenizer.encode`. */
export interface TokenizerEncodeOptions {
  /** `"max_length"`: to `maxLength`; `"longest"`: to the longest text of the call; `false` (default): not at all. */
  readonly padding?: "max_length" | "longest" | false;
  /** Truncates each text to `maxLength` ids including the two markers. Default false, but true if only `maxLength` is given. */
  readonly truncation?: boolean;
  /** The length in ids, the two markers included. Default {@link CLIPTokenizer.modelMaxLength}. */
  readonly maxLength?: number;
}

/** Options of `CLIPTokenizer.decode`. */
export interface TokenizerDecodeOptions {
  /** Omits start, end, padding and other special tokens. Default false. */
  readonly skipSpecialTokens?: boolean;
}

const LOAD_OPTIONS = optionNames<{ padToken?: string }>()({ padToken: true });
const ENCODE_OPTIONS = optionNames<TokenizerEncodeOptions>()({ padding: true, truncation: true, maxLength: true });
const DECODE_OPTIONS = optionNames<TokenizerDecodeOptions>()({ skipSpecialTokens: true });

/** `transformers` uses lengths above this for "no limit known". */
const NO_LIMIT = 1e20;

/** The start and the end marker. */
const MARKERS = 2;

/**
 * CLIP's tokenizer: lower-cased byte-level byte-pair encoding between a start and an end marker (Radford et al.,
 * "Learning Transferable Visual Models From Natural Language Supervision", 2021), with the ids of
 * `transformers.CLIPTokenizer` loaded from the same folder.
 *
 * @example
 * ```js
 * import { builtInTokenizer, CLIPTokenizer } from "instruct-pix2pix";
 *
 * const tokenizer = await CLIPTokenizer.fromPretrained(builtInTokenizer);
 * const [ids] = tokenizer.encode("make it winter");
 * console.log(ids, tokenizer.decode(ids, { skipSpecialTokens: true }));
 * ```
 */
export class CLIPTokenizer {
  /** Id of the marker before every text. */
  readonly bosTokenId: number;
  /** Id of the marker after every text. */
  readonly eosTokenId: number;
  /** Id of the padding token; null if the folder configures none. */
  readonly padTokenId: number | null;
  /** Id of the unknown token. */
  readonly unkTokenId: number;
  /** The maximal number of ids for the text encoder; default 77. */
  readonly modelMaxLength: number;
  /** Where texts that are too long are cut: the end or, with `"left"`, the start of what is between the markers. */
  readonly truncationSide: "left" | "right";
  /** Where texts that are too short are filled up: behind their end or, with `"left"`, before their start. */
  readonly paddingSide: "left" | "right";
  /** Number of tokens in the base vocabulary, without tokens that a configuration adds. */
  readonly vocabSize: number;
  readonly #encoding: BytePairEncoding;
  readonly #added: AddedVocabulary;
  readonly #files: TokenizerFiles;

  private constructor(files: TokenizerFiles) {
    const { bos, eos, unk, pad, added } = files.specialTokens;
    this.#files = files;
    this.#encoding = new BytePairEncoding(files, unk);
    this.#added = new AddedVocabulary(added, this.#encoding.ids, normalizeText, files.splitSpecialTokens);
    // Every special token is among those added, so each has an id.
    this.bosTokenId = this.#added.idOf(bos)!;
    this.eosTokenId = this.#added.idOf(eos)!;
    this.unkTokenId = this.#added.idOf(unk)!;
    this.padTokenId = pad === null ? null : this.#added.idOf(pad)!;
    this.modelMaxLength = files.modelMaxLength;
    this.truncationSide = files.truncationSide;
    this.paddingSide = files.paddingSide;
    this.vocabSize = this.#encoding.ids.size;
  }

  /**
   * Loads a tokenizer folder: `vocab.json` and `merges.txt`, or `tokenizer.json`; `tokenizer_config.json`,
   * `special_tokens_map.json` and `added_tokens.json` are read if they exist.
   *
   * @param options.padToken used instead of the folder's padding token
   * @throws InstructPix2PixError `ERR_FILE_NOT_FOUND` for a missing folder or file, `ERR_TOKENIZER` for a malformed one
   */
  static async fromPretrained(folder: string, options?: { padToken?: string }): Promise<CLIPTokenizer> {
    return new CLIPTokenizer(await readTokenizerFiles(folder, checkOptions(options, LOAD_OPTIONS).padToken));
  }

  /** @internal The files that it consists of, by their names. */
  get contents(): ReadonlyMap<string, Buffer> {
    return this.#files.contents;
  }

  /**
   * Writes the files that it was loaded from, as transformers reads them, with the padding token in use; the folder is
   * created if necessary. The folder that it was loaded from is not needed.
   *
   * @throws InstructPix2PixError `ERR_IO`
   */
  async savePretrained(folder: string): Promise<void> {
    try {
      await mkdir(folder, { recursive: true });
      for (const [name, content] of this.contents) await writeFile(join(folder, name), content);
    } catch (error) {
      throw ioError("save the tokenizer in", folder, error);
    }
  }

  /**
   * The ids of each text, start and end marker included.
   *
   * @param text one text or several; a lone surrogate counts as U+FFFD
   * @returns a row per text, also for a single one
   * @throws InstructPix2PixError `ERR_INVALID_ARGUMENT` for impossible options, `ERR_TOKENIZER` where the text needs an
   *   unknown token, or padding a padding token, that the folder lacks, and for more than 1000 combining marks in a row
   */
  encode(text: string | readonly string[], options: TokenizerEncodeOptions = {}): number[][] {
    const texts = typeof text === "string" ? [text] : text;
    if (!Array.isArray(texts) || texts.some((one) => typeof one !== "string"))
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "encode: expected a string or an array of strings");
    const { padding, limit, maxLength } = this.#lengths(checkOptions(options, ENCODE_OPTIONS));
    const rows = texts.map((one) => this.#markedIds(one, limit));
    if (padding === false) return rows;
    return this.#padded(rows, padding === "longest" ? Math.max(0, ...rows.map((row) => row.length)) : maxLength);
  }

  /**
   * Decodes ids to text. Unknown ids are skipped; bytes that are not UTF-8 become U+FFFD.
   *
   * @param ids a row of ids, or several
   */
  decode(ids: readonly number[], options?: TokenizerDecodeOptions): string;
  decode(ids: readonly (readonly number[])[], options?: TokenizerDecodeOptions): string[];
  decode(
    ids: readonly number[] | readonly (readonly number[])[],
    options: TokenizerDecodeOptions = {},
  ): string | string[] {
    checkOptions(options, DECODE_OPTIONS);
    if (ids.length > 0 && Array.isArray(ids[0]))
      return (ids as readonly (readonly number[])[]).map((row) => this.#decodeRow(row, options));
    return this.#decodeRow(ids as readonly number[], options);
  }

  /** Each id's token as the vocabulary spells it, `cat</w>` at the end of a word; undefined for an id that no token has. */
  tokensOf(ids: readonly number[]): (string | undefined)[] {
    return ids.map((id) => this.#added.textOf(id) ?? this.#encoding.tokens.get(id));
  }

  #decodeRow(ids: readonly number[], { skipSpecialTokens = false }: TokenizerDecodeOptions): string {
    const tokens = this.tokensOf(ids).flatMap((token) =>
      token === undefined || (skipSpecialTokens && this.#added.isSpecial(token)) ? [] : token,
    );
    return decodeTokens(tokens);
  }

  #lengths(options: TokenizerEncodeOptions) {
    const { padding = false, maxLength } = options;
    if (padding !== false && padding !== "max_length" && padding !== "longest")
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `encode: padding must be "max_length", "longest" or false, not ${JSON.stringify(padding)}`,
      );
    if (maxLength !== undefined && !(Number.isSafeInteger(maxLength) && maxLength > 0))
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "encode: maxLength must be a positive whole number");
    const truncation = options.truncation ?? (maxLength !== undefined && padding === false);
    const known = maxLength ?? (this.modelMaxLength > NO_LIMIT ? undefined : Math.floor(this.modelMaxLength));
    if (truncation && known !== undefined && known < MARKERS)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `encode: cannot truncate to ${known}: the start and the end marker alone take ${MARKERS}`,
      );
    if (padding !== false && this.padTokenId === null)
      throw new InstructPix2PixError("ERR_TOKENIZER", "encode: this tokenizer is configured without a padding token");
    return { padding, limit: truncation ? known : undefined, maxLength: known ?? 0 };
  }

  #markedIds(text: string, limit: number | undefined): number[] {
    const ids = this.#added
      .split(toUSVString(text))
      .flatMap((piece) => ("id" in piece ? piece.id : this.#encoding.encode(piece.text)));
    return [this.bosTokenId, ...this.#truncated(ids, limit), this.eosTokenId];
  }

  #truncated(ids: number[], limit: number | undefined): number[] {
    if (limit === undefined || ids.length <= limit - MARKERS) return ids;
    return this.truncationSide === "right" ? ids.slice(0, limit - MARKERS) : ids.slice(ids.length - (limit - MARKERS));
  }

  #padded(rows: number[][], length: number): number[][] {
    return rows.map((row) => {
      const fill = new Array<number>(Math.max(0, length - row.length)).fill(this.padTokenId!);
      return this.#files.paddingSide === "right" ? row.concat(fill) : fill.concat(row);
    });
  }
}
