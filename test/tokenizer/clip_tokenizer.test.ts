import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CLIPTokenizer, type TokenizerEncodeOptions } from "../../lib/tokenizer/clip_tokenizer.js";
import { decodeTokens } from "../../lib/tokenizer/decode.js";

const fixtures = fileURLToPath(new URL("../fixtures/", import.meta.url));
const clipVocab = join(fixtures, "clip-vocab");
const recorded = join(fixtures, "tokenizer");

interface Recorded {
  text: string;
  options: { padding?: "max_length" | false; truncation?: boolean; max_length?: number };
  ids: number[];
  decoded: string;
  without_special: string;
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(path, "utf8")) as T;
}

function expectRecorded(tokenizer: CLIPTokenizer, { text, options, ids, decoded, without_special }: Recorded) {
  const { max_length: maxLength, ...rest } = options;
  const given: TokenizerEncodeOptions = maxLength === undefined ? rest : { ...rest, maxLength };
  expect(tokenizer.encode(text, given), JSON.stringify(text)).toEqual([ids]);
  expect(tokenizer.decode(ids), JSON.stringify(text)).toBe(decoded);
  expect(tokenizer.decode(ids, { skipSpecialTokens: true }), JSON.stringify(text)).toBe(without_special);
}

let scratch: string;
let clip: CLIPTokenizer;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ip2p-tokenizer-"));
  clip = await CLIPTokenizer.fromPretrained(clipVocab);
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

let folders = 0;
/** A tokenizer folder of the given files, over the two of the small vocabulary; `null` leaves a file out. */
async function folderOf(files: Record<string, unknown>): Promise<string> {
  const folder = join(scratch, String(folders++));
  await mkdir(folder);
  for (const name of ["vocab.json", "merges.txt"])
    if (!(name in files)) await copyFile(join(recorded, "tiny", name), join(folder, name));
  for (const [name, content] of Object.entries(files))
    if (content !== null)
      await writeFile(
        join(folder, name),
        typeof content === "string" || content instanceof Uint8Array ? content : JSON.stringify(content),
      );
  return folder;
}

describe("ids are those of transformers' CLIPTokenizer", () => {
  test("for prompts, padded and truncated to 77 and untruncated", async () => {
    const cases = await readJson<{ text: string; input_ids: number[]; untruncated: number[] }[]>(
      join(recorded, "cases.json"),
    );
    expect(cases.length).toBeGreaterThan(10);
    for (const { text, input_ids, untruncated } of cases) {
      expect(clip.encode(text, { padding: "max_length", truncation: true })).toEqual([input_ids]);
      expect(clip.encode(text)).toEqual([untruncated]);
    }
    const texts = cases.map(({ text }) => text);
    expect(clip.encode(texts, { padding: "max_length", truncation: true })).toEqual(cases.map((one) => one.input_ids));
  });

  test("for random strings of odd characters, under three vocabularies, both ways", async () => {
    const cases = await readJson<(Recorded & { folder: string })[]>(join(recorded, "odd.json"));
    expect(cases).toHaveLength(500);
    const tokenizers = new Map<string, CLIPTokenizer>();
    for (const one of cases) {
      let tokenizer = tokenizers.get(one.folder);
      if (!tokenizer) {
        tokenizer = await CLIPTokenizer.fromPretrained(join(recorded, one.folder));
        tokenizers.set(one.folder, tokenizer);
      }
      expectRecorded(tokenizer, one);
    }
  });

  test("under every way to configure special and added tokens, lengths and sides", async () => {
    const { model } = await readJson<{ model: { vocab: object; merges: [string, string][] } }>(
      join(recorded, "linear-v", "tokenizer.json"),
    );
    const merges = `#version: 0.2\n${model.merges.map((merge) => `${merge.join(" ")}\n`).join("")}`;
    const folders = await readJson<
      { files: object; bos: number; eos: number; pad: number; unk: number; cases: Recorded[] }[]
    >(join(recorded, "configured.json"));
    expect(folders).toHaveLength(60);
    for (const { files, bos, eos, pad, unk, cases } of folders) {
      const folder = await folderOf({ ...files, "vocab.json": model.vocab, "merges.txt": merges });
      const tokenizer = await CLIPTokenizer.fromPretrained(folder);
      expect(
        [tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.padTokenId, tokenizer.unkTokenId],
        JSON.stringify(files),
      ).toEqual([bos, eos, pad, unk]);
      for (const one of cases) expectRecorded(tokenizer, one);
    }
  });
});

describe("a folder", () => {
  test("needs only vocab.json and merges.txt; the length is then 77", async () => {
    expect([clip.modelMaxLength, clip.vocabSize]).toEqual([77, 49408]);
    expect([clip.bosTokenId, clip.eosTokenId, clip.padTokenId, clip.unkTokenId]).toEqual([49406, 49407, 49407, 49407]);
  });

  test("may hold tokenizer.json alone", async () => {
    const tokenizerJson = await readFile(join(recorded, "linear-v", "tokenizer.json"), "utf8");
    const folder = await folderOf({ "vocab.json": null, "merges.txt": null, "tokenizer.json": tokenizerJson });
    const tokenizer = await CLIPTokenizer.fromPretrained(folder);
    expect([tokenizer.modelMaxLength, tokenizer.bosTokenId, tokenizer.eosTokenId]).toEqual([77, 1198, 1199]);
  });

  test("pads with the token that it names, as Stable Diffusion 2 does with '!'", async () => {
    const folder = await folderOf({ "special_tokens_map.json": { pad_token: "!" } });
    const tokenizer = await CLIPTokenizer.fromPretrained(folder);
    const [row] = tokenizer.encode("a", { padding: "max_length" });
    expect(row!.slice(-3)).toEqual([0, 0, 0]);
    expect(row).toHaveLength(77);
  });

  test("without a limit neither pads to it nor truncates, unless told a length", async () => {
    const folder = await folderOf({ "tokenizer_config.json": { model_max_length: 1e30 } });
    const tokenizer = await CLIPTokenizer.fromPretrained(folder);
    expect(tokenizer.modelMaxLength).toBe(1e30);
    const long = "a ".repeat(100);
    expect(tokenizer.encode(long, { padding: "max_length", truncation: true })[0]).toHaveLength(102);
    expect(tokenizer.encode("a", { padding: "max_length" })[0]).toHaveLength(3);
    expect(tokenizer.encode("a", { padding: "max_length", maxLength: 9 })[0]).toHaveLength(9);
  });

  test("without a padding token cannot pad, and says so", async () => {
    const folder = await folderOf({ "tokenizer_config.json": { pad_token: null } });
    const tokenizer = await CLIPTokenizer.fromPretrained(folder);
    expect(tokenizer.padTokenId).toBeNull();
    expect(tokenizer.encode("a")[0]).toHaveLength(3);
    expect(() => tokenizer.encode("a", { padding: "longest" })).toThrow(
      expect.objectContaining({ code: "ERR_TOKENIZER" }),
    );
  });

  test("whose unknown token is not in the vocabulary refuses only texts that need it", async () => {
    const folder = await folderOf({ "tokenizer_config.json": { unk_token: "<unk>" }, "vocab.json": { "a</w>": 0 } });
    await writeFile(join(folder, "merges.txt"), "#version: 0.2\n");
    const tokenizer = await CLIPTokenizer.fromPretrained(folder);
    expect(tokenizer.encode("a A")).toEqual([[1, 0, 0, 2]]);
    expect(() => tokenizer.encode("b")).toThrow(expect.objectContaining({ code: "ERR_TOKENIZER" }));
  });

  const malformed: [string, Record<string, unknown>, string, string][] = [
    ["no vocab.json", { "vocab.json": null }, "ERR_FILE_NOT_FOUND", "vocab.json"],
    ["no merges.txt", { "merges.txt": null }, "ERR_FILE_NOT_FOUND", "merges.txt"],
    ["a vocabulary that is not JSON", { "vocab.json": "{" }, "ERR_TOKENIZER", "vocab.json"],
    ["a vocabulary nested deep", { "vocab.json": "[".repeat(300) }, "ERR_TOKENIZER", "vocab.json: is nested too deep"],
    ["options of 17 MB", { "tokenizer_config.json": " ".repeat(17e6) }, "ERR_TOKENIZER", "tokenizer_config.json: has"],
    ["a vocabulary that is a list", { "vocab.json": [1] }, "ERR_TOKENIZER", "vocab.json"],
    ["a vocabulary that is empty text", { "vocab.json": "" }, "ERR_TOKENIZER", "vocab.json"],
    ["an id that is text", { "vocab.json": { a: "1" } }, "ERR_TOKENIZER", "vocab.json"],
    ["a negative id", { "vocab.json": { a: -1 } }, "ERR_TOKENIZER", "vocab.json"],
    ["an id with a fraction", { "vocab.json": { a: 1.5 } }, "ERR_TOKENIZER", "vocab.json"],
    ["an id beyond 32 bits", { "vocab.json": { a: 2 ** 33 } }, "ERR_TOKENIZER", "vocab.json"],
    ["a vocabulary that is not UTF-8", { "vocab.json": Uint8Array.of(0x7b, 0xff) }, "ERR_TOKENIZER", "vocab.json"],
    ["a merge of three", { "merges.txt": "#version: 0.2\na b c\n" }, "ERR_TOKENIZER", "merges.txt: line 2"],
    ["an empty line among merges", { "merges.txt": "i n\n\nt h\n" }, "ERR_TOKENIZER", "merges.txt: line 2"],
    ["a merge of unknown tokens", { "merges.txt": "qq zz\n" }, "ERR_TOKENIZER", "merges.txt: line 1"],
    ["a tokenizer.json without a model", { "tokenizer.json": {} }, "ERR_TOKENIZER", "tokenizer.json"],
    [
      "another kind of model",
      { "tokenizer.json": { model: { type: "WordPiece", vocab: {} } } },
      "ERR_TOKENIZER",
      "tokenizer.json",
    ],
    [
      "a tokenizer.json without merges",
      { "tokenizer.json": { model: { type: "BPE", vocab: {} } } },
      "ERR_TOKENIZER",
      "tokenizer.json",
    ],
    [
      "a length of nothing",
      { "tokenizer_config.json": { model_max_length: 0 } },
      "ERR_TOKENIZER",
      "tokenizer_config.json",
    ],
    [
      "a length in words",
      { "tokenizer_config.json": { model_max_length: "77" } },
      "ERR_TOKENIZER",
      "tokenizer_config.json",
    ],
    [
      "a special token that is a number",
      { "tokenizer_config.json": { eos_token: 3 } },
      "ERR_TOKENIZER",
      "tokenizer_config.json",
    ],
    [
      "a token object without content",
      { "special_tokens_map.json": { pad_token: { lstrip: true } } },
      "ERR_TOKENIZER",
      "special_tokens_map.json",
    ],
    ["no start token", { "tokenizer_config.json": { bos_token: null } }, "ERR_TOKENIZER", "tokenizer_config.json"],
    ["an added id in words", { "added_tokens.json": { "<new>": "x" } }, "ERR_TOKENIZER", "added_tokens.json"],
    ["an added token of 1025 characters", { "added_tokens.json": { ["x".repeat(1025)]: 9 } }, "ERR_TOKENIZER", ""],
    [
      "added tokens of more than a million characters",
      { "added_tokens.json": Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [`${i}`.padEnd(1024), i])) },
      "ERR_TOKENIZER",
      "",
    ],
    ["an unknown side", { "tokenizer_config.json": { padding_side: "top" } }, "ERR_TOKENIZER", "tokenizer_config.json"],
  ];
  test.each(malformed)("with %s is refused, naming the file", async (_, files, code, named) => {
    const folder = await folderOf(files);
    await expect(CLIPTokenizer.fromPretrained(folder)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(join(folder, named)),
    });
  });

  test("that does not exist, or is a file, is ERR_FILE_NOT_FOUND", async () => {
    for (const path of [join(scratch, "nowhere"), join(clipVocab, "vocab.json")])
      await expect(CLIPTokenizer.fromPretrained(path)).rejects.toMatchObject({
        code: "ERR_FILE_NOT_FOUND",
        message: expect.stringContaining(path),
      });
  });
});

describe("encode", () => {
  test("pads the texts of one call to the longest of them", () => {
    const rows = clip.encode(["a cat", "a cat on a mat"], { padding: "longest" });
    expect(rows[0]).toEqual([49406, 320, 2368, 49407, 49407, 49407, 49407]);
    expect(rows[1]).toHaveLength(7);
    expect(clip.encode([], { padding: "longest" })).toEqual([]);
  });

  test("keeps both markers when it truncates, down to nothing between them", () => {
    expect(clip.encode("a cat on a mat", { maxLength: 4 })).toEqual([[49406, 320, 2368, 49407]]);
    expect(clip.encode("a cat on a mat", { truncation: true, maxLength: 2 })).toEqual([[49406, 49407]]);
    expect(clip.encode("a cat on a mat", { padding: "max_length", maxLength: 4 })[0]).toHaveLength(7);
  });

  test("refuses invalid options and values that are not text", () => {
    const invalid = expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" });
    for (const maxLength of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => clip.encode("a", { maxLength })).toThrow(invalid);
    expect(() => clip.encode("a", { truncation: true, maxLength: 1 })).toThrow(invalid);
    expect(() => clip.encode("a", { padding: "left" as "longest" })).toThrow(invalid);
    for (const text of [undefined, null, 3, ["a", 3]] as unknown as string[])
      expect(() => clip.encode(text)).toThrow(invalid);
  });

  test("encodes a lone surrogate as U+FFFD", () => {
    expect(clip.encode("a\ud800b \udc00")).toEqual(clip.encode("a\ufffdb \ufffd"));
  });

  test("encodes texts of 100,000 characters in linear time", () => {
    // Work that grows with the square of the length would take hours.
    const texts = [
      "a".repeat(1e5),
      "9".repeat(1e5),
      "'s".repeat(5e4),
      "日本語".repeat(33_333),
      "<|endoftext|>".repeat(7000),
    ];
    const rows = clip.encode([...texts, " ".repeat(1e5)]);
    expect(rows.map((row) => row.length)).toEqual([12_503, 100_002, 50_002, 133_334, 7002, 2]);
  });

  test("accepts a thousand combining marks on one letter, and no more", () => {
    // They are in the wrong order, and sorting them takes time with the square of their number.
    const marks = "\u0315\u0327".repeat(500);
    expect(clip.encode(`a${marks}`.repeat(50))[0]!.length).toBeGreaterThan(50_000);
    for (const text of [`a${marks}\u0300`, `\u08ca${"\u0315\u0327".repeat(1e6)}`])
      expect(() => clip.encode(text)).toThrow(
        expect.objectContaining({
          code: "ERR_TOKENIZER",
          message: expect.stringContaining("more than 1000 combining"),
        }),
      );
  });
});

describe("decode", () => {
  test("skips ids without a token, and accepts one row or several", () => {
    expect(clip.decode([49406, 320, 1e9, -1, 2368, 49407])).toBe("<|startoftext|>a cat <|endoftext|>");
    expect(clip.decode([[320], [], [2368, 49407]], { skipSpecialTokens: true })).toEqual(["a", "", "cat"]);
    expect(clip.decode([])).toBe("");
  });

  test("trims space at both ends only", () => {
    const space = " \u3000\x1c\u0085".repeat(1e5);
    expect(decodeTokens([space, "a</w>", `b${space}b`, "</w>", space])).toBe(`a b${space}b`);
  });

  test("returns normalised text", () => {
    const [row] = clip.encode("Make  it\ta SNOWY day");
    expect(clip.decode(row!, { skipSpecialTokens: true })).toBe("make it a snowy day");
  });
});
