import * as tokenizers from "@huggingface/tokenizers";

// The package's type declarations import one another without file extensions, which TypeScript does not follow in an ES
// module, so what is used of it is declared here.

interface BytePairModel {
  /** The tokens of some words already mapped to byte characters. */
  encode(words: string[]): string[];
}

interface BytePairModelConfig {
  readonly type: "BPE";
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly [string, string])[];
  readonly unk_token: string;
  readonly end_of_word_suffix: string;
}

interface ByteLevel {
  /** Each word's UTF-8 bytes as byte characters. */
  pre_tokenize(words: string[]): string[];
}

interface ByteLevelConfig {
  readonly type: "ByteLevel";
  readonly add_prefix_space: boolean;
  readonly use_regex: boolean;
}

export const { BPE, ByteLevelPreTokenizer } = tokenizers as unknown as {
  readonly BPE: new (config: BytePairModelConfig) => BytePairModel;
  readonly ByteLevelPreTokenizer: new (config: ByteLevelConfig) => ByteLevel;
};
