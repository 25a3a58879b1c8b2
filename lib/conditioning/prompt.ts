import { quote } from "../core/quote.js";
import { disposeAll, Tensor } from "../core/tensor.js";
import { warnOnce } from "../core/warn.js";
import type { AdapterWeights } from "../models/adapter-weights.js";
import type { CLIPTextForwardOptions, CLIPTextModel, CLIPTextOutput } from "../models/clip_text_model.js";
import type { CLIPTextProjectedOutput } from "../models/clip_text_model_with_projection.js";
import type { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";

/** Number of ignored tokens shown in a warning. */
const QUOTED_TOKENS = 20;

/** A tokenizer and its text encoder, with the adapters that count in it. */
export interface TextParts {
  tokenizer: CLIPTokenizer;
  textEncoder: CLIPTextModel;
  /** @internal Default none. */
  adapterWeights?: readonly AdapterWeights[] | undefined;
}

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
  const { lastHiddenState, pooled } = await parts.textEncoder.forward(input, {
    ...{ skippedLayers, signal, adapters: parts.adapterWeights },
  });
  pooled.dispose();
  return lastHiddenState;
}

/** Prompts as SDXL's text encoders encode them. */
export interface PenultimateStates {
  /** [B,T,D]: the hidden states before the last layer, without the final layer norm. */
  embeddings: Tensor;
  /** [B,E]: the pooled embeddings of an encoder with a projection; undefined for others. */
  pooled: Tensor | undefined;
}

/**
 * The hidden states before the last layer, without the final layer norm, and the pooled embeddings, which no skipped layers
 * change (Podell et al. 2023, "SDXL", https://arxiv.org/abs/2307.01952, section 2.1).
 *
 * @param options.skippedLayers layers that are left out beside the last one, fewer than the encoder has
 */
export async function encodePenultimate(
  prompts: readonly string[],
  parts: TextParts,
  options: EncodingOptions = {},
): Promise<PenultimateStates> {
  const { length, skippedLayers = 0, signal } = options;
  using input = tokenizePrompts(prompts, parts, length);
  return await penultimateStates(input, parts.textEncoder, { skippedLayers, signal, adapters: parts.adapterWeights });
}

/** As {@link encodePenultimate}, of token ids [B,T]. */
export async function penultimateStates(
  ids: Tensor,
  textEncoder: CLIPTextModel,
  { skippedLayers = 0, ...options }: Omit<CLIPTextForwardOptions, "hiddenStates">,
): Promise<PenultimateStates> {
  const output: CLIPTextOutput & Partial<CLIPTextProjectedOutput> = await textEncoder.forward(ids, {
    ...options,
    hiddenStates: true,
  });
  const { lastHiddenState, pooled: unprojected, textEmbeds: pooled, hiddenStates } = output;
  const embeddings = hiddenStates!.at(-(skippedLayers + 2))!;
  disposeAll(lastHiddenState, unprojected, ...hiddenStates!.filter((state) => state !== embeddings));
  return { embeddings, pooled };
}

/** Prompts as the ×2 latent upscaler takes them. */
export interface LastStates {
  /** [B,T,D]: the hidden states after the last layer, without the final layer norm. */
  embeddings: Tensor;
  /** [B,D]: the normalised state of the end-of-text token. */
  pooled: Tensor;
}

/** The hidden states after the last layer, without the final layer norm, and the pooled ones, which have it. */
export async function encodeLastStates(
  prompts: readonly string[],
  parts: TextParts,
  { length, signal }: Pick<EncodingOptions, "length" | "signal"> = {},
): Promise<LastStates> {
  using input = tokenizePrompts(prompts, parts, length);
  const { lastHiddenState, pooled, hiddenStates } = await parts.textEncoder.forward(input, {
    hiddenStates: true,
    adapters: parts.adapterWeights,
    ...(signal && { signal }),
  });
  const embeddings = hiddenStates!.at(-1)!;
  disposeAll(lastHiddenState, ...hiddenStates!.slice(0, -1));
  return { embeddings, pooled };
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
