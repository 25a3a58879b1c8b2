import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const END_OF_WORD = "</w>";
const [START, END] = ["<|startoftext|>", "<|endoftext|>"];

/** The printable stand-ins that CLIP's vocabulary, as GPT-2's, has for the 256 bytes, in its order. */
function byteCharacters() {
  const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const others = bytes.filter((byte) => !printable(byte));
  return [
    ...bytes.filter(printable).map((byte) => String.fromCharCode(byte)),
    ...others.map((_, i) => String.fromCharCode(256 + i)),
  ];
}

/**
 * The merges of byte pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909) under which every
 * word becomes a single token: always the most frequent pair first; ties go to the first in order.
 *
 * @param {readonly string[]} words
 * @returns {[string, string][]}
 */
export function learnMerges(words) {
  let pieces = words.map((word) => [...word.slice(0, -1), word.at(-1) + END_OF_WORD]);
  const merges = [];
  for (;;) {
    const counts = new Map();
    for (const word of pieces)
      for (let i = 1; i < word.length; i++) {
        const pair = `${word[i - 1]} ${word[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    if (counts.size === 0) return merges;
    const [best] = [...counts].reduce((a, b) => (b[1] > a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a));
    const [left, right] = best.split(" ");
    merges.push([left, right]);
    pieces = pieces.map((word) => merged(word, left, right));
  }
}

function merged(word, left, right) {
  const result = [];
  for (let i = 0; i < word.length; i++) {
    if (word[i] === left && word[i + 1] === right) result.push(left + word[++i]);
    else result.push(word[i]);
  }
  return result;
}

/**
 * Writes the tokenizer of a CLIP text encoder that knows these words, and any other text byte by byte.
 *
 * @returns {{ vocabularySize: number, startId: number, endId: number }}
 */
export function writeTokenizer(folder, words, length) {
  const bytes = byteCharacters();
  const merges = learnMerges(words);
  const tokens = [
    ...bytes,
    ...bytes.map((character) => character + END_OF_WORD),
    ...merges.map(([left, right]) => left + right),
    START,
    END,
  ];
  const vocabulary = Object.fromEntries(tokens.map((token, id) => [token, id]));
  mkdirSync(folder, { recursive: true });
  const json = (name, value) => writeFileSync(join(folder, name), `${JSON.stringify(value)}\n`);
  json("vocab.json", vocabulary);
  writeFileSync(join(folder, "merges.txt"), `#version: 0.2\n${merges.map((pair) => `${pair.join(" ")}\n`).join("")}`);
  const special = { bos_token: START, eos_token: END, pad_token: END, unk_token: END };
  json("special_tokens_map.json", special);
  json("tokenizer_config.json", {
    tokenizer_class: "CLIPTokenizer",
    model_max_length: length,
    do_lower_case: true,
    errors: "replace",
    ...special,
  });
  return { vocabularySize: tokens.length, startId: vocabulary[START], endId: vocabulary[END] };
}
