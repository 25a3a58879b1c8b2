import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { tokenizePrompts } from "../../lib/conditioning/prompt.js";
import type { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { builtInTokenizer } from "../../lib/tokenizer/built-in.js";
import { CLIPTokenizer } from "../../lib/tokenizer/clip_tokenizer.js";

const textEncoder = { config: { max_position_embeddings: 77 } } as CLIPTextModel;
const tokenizers: Partial<Record<"left" | "right", CLIPTokenizer>> = {};

beforeAll(async () => {
  for (const side of ["left", "right"] as const) {
    const folder = await mkdtemp(join(tmpdir(), "ip2p-prompt-"));
    await cp(builtInTokenizer, folder, { recursive: true });
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify({ truncation_side: side }));
    tokenizers[side] = await CLIPTokenizer.fromPretrained(folder);
    await rm(folder, { recursive: true });
  }
});
afterEach(() => vi.restoreAllMocks());

const words = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => String.fromCharCode(97 + ((from + i) % 26))).join(" ");

test.each([
  ["right", 76, `1 token is ignored: "${words(75, 76)}"`],
  ["right", 95, `20 tokens are ignored: "${words(75, 95)}"`],
  ["right", 200, `125 tokens are ignored: "${words(75, 95)} …"`],
  ["left", 76, `1 token is ignored: "${words(0, 1)}"`],
  ["left", 95, `20 tokens are ignored: "${words(0, 20)}"`],
  ["left", 200, `125 tokens are ignored: "${words(0, 20)} …"`],
] as const)("cut on the %s, %i tokens bring a warning that quotes the first ignored", async (side, count, expected) => {
  const warned = vi.spyOn(process, "emitWarning").mockReturnValue();
  const tokenizer = tokenizers[side]!;
  using ids = tokenizePrompts([words(0, 75), words(0, count)], { tokenizer, textEncoder });
  const kept = side === "right" ? words(0, 75) : words(count - 75, count);
  expect(Array.from(await ids.toArray(), Number).slice(77)).toEqual(tokenizer.encode(kept)[0]);
  expect(warned.mock.calls.map(([message]) => message)).toEqual([
    `prompt 2 is longer than the 77 tokens that the text encoder takes; ${expected}`,
  ]);
});
