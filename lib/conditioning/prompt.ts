import { quote } from "../core/quote.js";
import { Tensor } from "../core/tensor.js";
import { warnOnce } from "../core/warn.js";
import type { CLIPTextModel } from "../models/clip_text_model.js";
import type { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";

/** Number of ignored tokens shown in a warning. */
const QUOTED_TOKENS = 20;

/** A tokenizer and its text encoder. */
export type TextParts = { tokenizer: CLIPTokenizer; textEncoder: CLIPTextModel };

/** How prompts are encoded. */
export interface EncodingOptions {
  /** Tokens that prompts are padded or truncated to. Default the tokenizer's length. */
  length?: number | undefined;
  /** The text encoder's last layers that are left out (`clip_skip`). Default 0. */
  skippedLayers?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** Length that prompts are padded or truncated to: the tokenizer's, limited by the text encoder's. */
export function promptLength({ tokenizer, textEncoder }: TextParts): number {
  return Math.min(tokenizer.modelMaxLength, textEncoder.config.max_position_embeddings);
}

/** The prompts' token ids, padded or truncated to one length: int64 [B,T]. */
export function tokenizePrompts(prompts: readonly string[], parts: TextParts, length = promptLength(parts)): Tensor {
  const { tokenizer } = parts;
  const ids = tokenizer.encode(prompts, { padding: "max_length", truncation: true, maxLength: length });
  warnAboutTruncation(prompts, tokenizer, length);
  return Tensor.from(BigInt64Array.from(ids.flat(), BigInt), [ids.length, length]);
}

/**
 * The prompt embeddings: the text encoder's last hidden state.
 *
 * @returns [B,T,D] in the text encoder's type
 */
export async function encodePrompts(
  prompts: readonly string[],
  parts: TextParts,
  options: EncodingOptions = {},
): Promise<Tensor> {
  const { length, skippedLayers, signal } = options;
  using input = tokenizePrompts(prompts, parts, length);
  const { lastHiddenState, pooled } = await parts.textEncoder.forward(input, { skippedLayers, signal });
  pooled.dispose();
  return lastHiddenState;
}

function warnAboutTruncation(prompts: readonly string[], tokenizer: CLIPTokenizer, length: number): void {
  for (const [i, ids] of tokenizer.encode(prompts).entries()) {
    if (ids.length <= length) continue;
    const count = ids.length - length;
    const first = tokenizer.truncationSide === "right" ? length - 1 : 1;
    // More tokens than are shown would only be spelt out to be cut off.
    const ignored = tokenizer.decode(ids.slice(first, first + Math.min(count, QUOTED_TOKENS)));
    const quoted = quote(count > QUOTED_TOKENS ? `${ignored} …` : ignored);
    const what = `${count} ${count === 1 ? "token is" : "tokens are"} ignored: ${quoted}`;
    warnOnce(`prompt ${i + 1} is longer than the ${length} tokens that the text encoder takes; ${what}`);
  }
}
