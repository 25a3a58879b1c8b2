import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { CLIPTokenizer } from "../../lib/tokenizer/clip_tokenizer.js";

const tiny = fileURLToPath(new URL("../fixtures/tokenizer/tiny/", import.meta.url));

test("every string has ids of the vocabulary, between its markers, and decodes", async () => {
  const tokenizer = await CLIPTokenizer.fromPretrained(tiny);
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 200 }), fc.integer({ min: 2, max: 90 }), (text, maxLength) => {
      const [whole] = tokenizer.encode(text);
      expect(whole!.every((id) => id >= 0 && id < tokenizer.vocabSize)).toBe(true);
      expect([whole!.at(0), whole!.at(-1)]).toEqual([tokenizer.bosTokenId, tokenizer.eosTokenId]);
      expect(typeof tokenizer.decode(whole!)).toBe("string");
      const [cut] = tokenizer.encode(text, { padding: "max_length", truncation: true, maxLength });
      expect(cut).toHaveLength(maxLength);
      expect(cut!.slice(0, Math.min(whole!.length, maxLength) - 1)).toEqual(
        whole!.slice(0, Math.min(whole!.length, maxLength) - 1),
      );
    }),
    { numRuns: 2000 },
  );
});

test("every configuration loads, or is refused with a typed error of one line", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ip2p-tokenizer-"));
  try {
    for (const name of ["vocab.json", "merges.txt"]) await copyFile(join(tiny, name), join(folder, name));
    const mostly = <T>(valid: fc.Arbitrary<T>) =>
      fc.oneof({ arbitrary: valid, weight: 19 }, { arbitrary: fc.jsonValue(), weight: 1 });
    const content = fc.constantFrom("<|startoftext|>", "<|endoftext|>", "!", "<new>", "", "Σ", "a b");
    const flags = { lstrip: fc.boolean(), rstrip: fc.boolean(), single_word: fc.boolean(), normalized: fc.boolean() };
    const object = fc.record({ content, ...flags }, { requiredKeys: ["content"] });
    const token = mostly(fc.oneof(content, object));
    const names = ["bos_token", "eos_token", "unk_token", "pad_token", "image_token"];
    const tokens = Object.fromEntries(names.map((name) => [name, token]));
    const config = fc.record(
      {
        ...tokens,
        model_max_length: mostly(fc.integer({ min: 2 })),
        additional_special_tokens: mostly(fc.array(token)),
        extra_special_tokens: mostly(fc.array(token)),
        added_tokens_decoder: mostly(fc.dictionary(fc.nat().map(String), object)),
        padding_side: mostly(fc.constantFrom("left", "right")),
      },
      { requiredKeys: [] },
    );
    const map = fc.record(tokens, { requiredKeys: [] });
    let loaded = 0;
    await fc.assert(
      fc.asyncProperty(config, map, mostly(fc.dictionary(content, fc.nat())), async (...files) => {
        for (const [index, name] of ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"].entries())
          await writeFile(join(folder, name), JSON.stringify(files[index]));
        try {
          const tokenizer = await CLIPTokenizer.fromPretrained(folder);
          loaded++;
          for (const id of [tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.unkTokenId, tokenizer.padTokenId])
            expect(id === null || Number.isSafeInteger(id)).toBe(true);
          expect(tokenizer.encode("<|endoftext|> ! a b Σ", { maxLength: 8 })[0]!.length).toBeLessThanOrEqual(8);
        } catch (error) {
          if (!isInstructPix2PixError(error)) throw error;
          expect(error.message).not.toContain("\n");
        }
      }),
      { numRuns: 300 },
    );
    expect(loaded).toBeGreaterThan(30);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
