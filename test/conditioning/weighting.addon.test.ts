import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodePrompt } from "../../lib/conditioning/encode-prompt.js";
import type { TextPairParts } from "../../lib/conditioning/prompt-pair.js";
import { parseWeightedPrompt, type WeightedPrompt } from "../../lib/conditioning/weighting/flatten.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { CLIPTextModelWithProjection } from "../../lib/models/clip_text_model_with_projection.js";
import { CLIPTokenizer } from "../../lib/tokenizer/clip_tokenizer.js";
import { deviation } from "../helpers/compare.js";
import { fixture } from "../helpers/fixtures.js";

type Fragments = [text: string, weight: number][];
type RecordedPart =
  | { kind: "prompt"; fragments: Fragments }
  | { kind: "blend"; prompts: Fragments[]; weights: number[]; normalize: boolean };
interface Recorded {
  parts: RecordedPart[];
  weights: number[];
}
interface RecordedString {
  text: string;
  sd: number[];
  sd_truncated: number[] | "same as sd";
  sdxl_error?: string;
}

const read = (name: string) => JSON.parse(readFileSync(fixture("prompt-weighting", name), "utf8"));
const cases = read("case.json") as {
  strings: RecordedString[];
  pairs: { prompt: string; negative_prompt: string }[];
};

function asRecorded({ parts, weights }: WeightedPrompt): Recorded {
  const pairs = (fragments: readonly { text: string; weight: number }[]) =>
    fragments.map(({ text, weight }): [string, number] => [text, weight]);
  return {
    parts: parts.map((part) =>
      part.kind === "prompt"
        ? { kind: "prompt", fragments: pairs(part.fragments) }
        : { kind: "blend", prompts: part.prompts.map(pairs), weights: [...part.weights], normalize: part.normalize },
    ),
    weights: [...weights],
  };
}

/** Powers of 1.1 differ in the last bit between mathematical libraries. */
function rounded(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_, inner) =>
    typeof inner === "number" ? Number(inner.toPrecision(12)) : inner,
  );
}

describe("prompts in Compel's grammar are parsed as Compel does", () => {
  test("random prompts; those that Compel fails on are refused", () => {
    const recorded = read("parses.json") as [string, Recorded | null][];
    for (const [text, expected] of recorded) {
      const parse = () => rounded(asRecorded(parseWeightedPrompt(text)));
      if (expected) expect(parse(), JSON.stringify(text)).toEqual(rounded(expected));
      else expect(parse, JSON.stringify(text)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
    }
    expect(recorded.length).toBeGreaterThan(300);
  });

  test.each([
    ["()", "holds no text"],
    ['("a", "b").and(1)', "1 weights for 2 prompts"],
    ['("a", "b").blend(1, -1)', "add up to 0"],
    ['("a", "b").blend(x=1, 1)', 'not "x=1"'],
    ['("a", "b").blend(1, 1) and more', "and more"],
    ["(".repeat(60), "nests parentheses"],
    ["word ".repeat(5000), "at most 20000"],
  ])("%s is refused", (text, message) => {
    expect(() => parseWeightedPrompt(text)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining(message) }),
    );
  });

  test("nestings that take Compel exponential time are linear here", () => {
    const deep = `${"(".repeat(49)}cat${")".repeat(49)}++`;
    expect(asRecorded(parseWeightedPrompt(deep)).parts[0]).toMatchObject({ fragments: [["cat", expect.any(Number)]] });
    expect(parseWeightedPrompt('("'.repeat(40)).parts).toHaveLength(1);
    expect(parseWeightedPrompt('\\"'.repeat(9000)).parts).toHaveLength(1);
  });
});

describe("embeddings of weighted prompts are Compel's", () => {
  let expected: Record<string, Tensor>;
  let textEncoder: CLIPTextModel;
  let tokenizer: CLIPTokenizer;
  beforeAll(async () => {
    expected = await loadSafetensors(fixture("prompt-weighting", "expected.safetensors"));
    textEncoder = await CLIPTextModel.fromPretrained(fixture("prompt-weighting", "text_encoder"));
    tokenizer = await CLIPTokenizer.fromPretrained(fixture("prompt-weighting", "tokenizer"));
  });
  afterAll(() => {
    for (const part of [textEncoder, ...Object.values(expected)]) part.dispose();
  });

  test.each(cases.strings.map(({ text, ...rest }, i) => [i, text, rest] as const))(
    "%i: %s",
    async (i, text, { sd_truncated }) => {
      for (const [name, truncateLongPrompts] of [
        [`${i}.sd`, false],
        [sd_truncated === "same as sd" ? `${i}.sd` : `${i}.sd_truncated`, true],
      ] as const) {
        const options = { promptWeighting: "compel", truncateLongPrompts } as const;
        const { promptEmbeds } = await encodePrompt({ tokenizer, textEncoder }, text, options);
        using actual = promptEmbeds;
        expect((await deviation(actual, expected[name]!)).relative, name).toBeLessThan(1e-5);
      }
    },
  );

  describe("for SDXL's two encoders", () => {
    let parts: TextPairParts;
    beforeAll(async () => {
      const textEncoder2 = await CLIPTextModelWithProjection.fromPretrained(
        fixture("prompt-weighting", "text_encoder_2"),
      );
      const tokenizer2 = await CLIPTokenizer.fromPretrained(fixture("prompt-weighting", "tokenizer_2"));
      parts = { tokenizer, textEncoder, tokenizer2, textEncoder2 };
    });
    afterAll(() => parts.textEncoder2.dispose());

    test.each(cases.strings.map(({ text, ...rest }, i) => [i, text, rest] as const))(
      "%i: %s",
      async (i, text, { sdxl_error: error }) => {
        const encoded = encodePrompt(parts, text, { promptWeighting: "compel", truncateLongPrompts: false });
        if (error) return void (await expect(encoded).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" }));
        const { promptEmbeds, pooledPromptEmbeds } = await encoded;
        expect((await deviation(promptEmbeds, expected[`${i}.sdxl`]!)).relative).toBeLessThan(1e-5);
        expect((await deviation(pooledPromptEmbeds, expected[`${i}.sdxl_pooled`]!)).relative).toBeLessThan(1e-5);
      },
    );
  });

  test("prompts of different lengths are padded with the empty prompt", async () => {
    for (const [j, { prompt, negative_prompt }] of cases.pairs.entries()) {
      const { promptEmbeds } = await encodePrompt({ tokenizer, textEncoder }, [prompt, negative_prompt], {
        promptWeighting: "compel",
        truncateLongPrompts: false,
      });
      using rows = promptEmbeds;
      using both = await Tensor.cat([expected[`pair${j}.sd`]!, expected[`pair${j}.sd_negative`]!], 0);
      expect((await deviation(rows, both)).relative).toBeLessThan(1e-5);
    }
  });

  test("without weighting, every character is literal text; invalid input is refused", async () => {
    const parts = { tokenizer, textEncoder };
    using plain = (await encodePrompt(parts, ["a (cat)1.2", ""])).promptEmbeds;
    using weighted = (await encodePrompt(parts, ["a (cat)1.2", ""], { promptWeighting: "compel" })).promptEmbeds;
    expect(plain.shape).toEqual(weighted.shape);
    expect((await deviation(plain, weighted)).relative).toBeGreaterThan(1e-3);
    for (const [text, options, message] of [
      [[], {}, "text must be"],
      [[1], {}, "text must be"],
      ["a", { promptWeighting: "sd" }, 'promptWeighting must be "none" or "compel", not "sd"'],
      ["a", { truncateLongPrompts: false }, "needs promptWeighting"],
      ["()", { promptWeighting: "compel" }, "holds no text"],
    ] as const)
      await expect(encodePrompt(parts, text as never, options as never)).rejects.toMatchObject({
        code: "ERR_INVALID_ARGUMENT",
        message: expect.stringContaining(message),
      });
  });
});
