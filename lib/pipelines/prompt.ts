import type { CLIPTextModel } from "../models/clip_text_model.js";
import { Tensor } from "../tensor.js";
import type { CLIPTokenizer } from "../tokenizer.js";
import { warnOnce } from "../warn.js";

/**
 * The text encoder's last hidden state for each prompt.
 *
 * @param length tokens that prompts are padded or cut to; default the tokenizer's length
 * @returns [B,T,D] in the text encoder's type
 */
export async function encodePrompts(
  prompts: readonly string[],
  { tokenizer, textEncoder }: { tokenizer: CLIPTokenizer; textEncoder: CLIPTextModel },
  signal?: AbortSignal,
  length = Math.min(tokenizer.modelMaxLength, textEncoder.config.max_position_embeddings),
): Promise<Tensor> {
  const ids = tokenizer.encode(prompts, { padding: "max_length", truncation: true, maxLength: length });
  warnAboutTruncation(prompts, tokenizer, length);
  const flat = BigInt64Array.from(ids.flat(), BigInt);
  using input = Tensor.from(flat, [ids.length, length]);
  const { lastHiddenState, pooled } = await textEncoder.forward(input, { signal });
  pooled.dispose();
  return lastHiddenState;
}

function warnAboutTruncation(prompts: readonly string[], tokenizer: CLIPTokenizer, length: number): void {
  for (const [i, ids] of tokenizer.encode(prompts).entries()) {
    if (ids.length <= length) continue;
    const dropped = tokenizer.decode(ids.slice(length - 1, -1));
    warnOnce(`prompt ${i + 1} is longer than the ${length} tokens that the text encoder takes; ignored: "${dropped}"`);
  }
}
