import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { BPE, ByteLevelPreTokenizer } from "./library.js";
import { splitWords } from "./text.js";

/** A byte-pair model, as in `vocab.json` and `merges.txt`. */
export interface BytePairFiles {
  readonly vocab: Readonly<Record<string, number>>;
  /** In order of rank. */
  readonly merges: readonly (readonly [string, string])[];
}

/** CLIP's byte-level byte-pair encoding: the last symbol of a word ends in `</w>`. */
export class BytePairEncoding {
  readonly ids: ReadonlyMap<string, number>;
  readonly tokens: ReadonlyMap<number, string>;
  readonly #bytes = new ByteLevelPreTokenizer({ type: "ByteLevel", add_prefix_space: false, use_regex: false });
  readonly #model: InstanceType<typeof BPE>;

  /** @param unkToken replaces symbols that are not in the vocabulary */
  constructor({ vocab, merges }: BytePairFiles, unkToken: string) {
    this.ids = new Map(Object.entries(vocab));
    this.tokens = new Map([...this.ids].map(([token, id]) => [id, token]));
    this.#model = new BPE({ type: "BPE", vocab, merges, unk_token: unkToken, end_of_word_suffix: "</w>" });
  }

  /**
   * The ids of a normalised text, without any special token.
   *
   * @throws InstructPix2PixError `ERR_TOKENIZER` for a symbol that is not in the vocabulary, if there is no unknown
   * token
   */
  encode(text: string): number[] {
    // The library's word cache costs more than it saves for long repetitive texts.
    const known = new Map<string, readonly number[]>();
    return splitWords(text).flatMap((word) => {
      let ids = known.get(word);
      if (ids === undefined) known.set(word, (ids = this.#encodeWord(word)));
      return ids;
    });
  }

  #encodeWord(word: string): number[] {
    return this.#model.encode(this.#bytes.pre_tokenize([word])).map((token) => {
      const id = this.ids.get(token);
      if (id !== undefined) return id;
      const unknown = `its unknown token, ${quote(token)}`;
      throw new InstructPix2PixError("ERR_TOKENIZER", `the vocabulary lacks a symbol of the text, and ${unknown}`);
    });
  }
}
