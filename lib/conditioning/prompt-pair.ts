import { InstructPix2PixError } from "../core/errors.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import type { AdapterWeights } from "../models/adapter-weights.js";
import type { CLIPTextModel } from "../models/clip_text_model.js";
import type { CLIPTextModelWithProjection } from "../models/clip_text_model_with_projection.js";
import type { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import {
  encodePenultimate,
  type PenultimateStates,
  penultimateStates,
  promptLength,
  type TextParts,
} from "./prompt.js";
import { encodeWeightedPrompts, type WeightingOptions } from "./weighting/encode.js";
import { parseWeightedPrompt } from "./weighting/flatten.js";

/** SDXL's two text encoders and their tokenizers; its refiner has only the second ones. */
export interface TextPairParts {
  tokenizer?: CLIPTokenizer | null | undefined;
  textEncoder?: CLIPTextModel | null | undefined;
  tokenizer2: CLIPTokenizer;
  textEncoder2: CLIPTextModelWithProjection;
  /** @internal The adapters that count in the encoders. Default none. */
  loras?: Partial<Record<"textEncoder" | "textEncoder2", readonly AdapterWeights[]>> | undefined;
}

/** Prompts as SDXL's UNet takes them. */
export interface PairEmbeddings {
  /** [B,T,D1 + D2]: both encoders' embeddings, one behind the other. */
  embeddings: Tensor;
  /** [B,E]: the second encoder's pooled embeddings. */
  pooled: Tensor;
}

/** Prompts for the first and for the second encoder, equally many. */
export type PromptPair = readonly [readonly string[], readonly string[]];

/** The encoders that there are, in order. The n-th takes the n-th prompts: a second one alone takes the first prompts. */
export function encodersOf({ tokenizer, textEncoder, tokenizer2, textEncoder2, loras }: TextPairParts): TextParts[] {
  const second = { tokenizer: tokenizer2, textEncoder: textEncoder2, adapterWeights: loras?.textEncoder2 };
  return tokenizer && textEncoder ? [{ tokenizer, textEncoder, adapterWeights: loras?.textEncoder }, second] : [second];
}

/**
 * Encodes prompts by all encoders.
 *
 * @param encode by one encoder, as {@link encodePenultimate} does
 */
export async function encodePromptPair(
  prompts: PromptPair,
  parts: TextPairParts,
  encode: (prompts: readonly string[], parts: TextParts, index: number) => Promise<PenultimateStates>,
): Promise<PairEmbeddings> {
  using scope = new Scope();
  const embeddings: Tensor[] = [];
  let pooled: Tensor | undefined;
  for (const [i, encoder] of encodersOf(parts).entries()) {
    const states = await encode(prompts[i as 0 | 1], encoder, i);
    embeddings.push(scope.add(states.embeddings));
    if (states.pooled) pooled = scope.add(states.pooled);
  }
  const joined = await Tensor.cat(embeddings, 2);
  return { embeddings: joined, pooled: await pooled!.clone() };
}

/**
 * Encodes prompts in Compel's grammar by all encoders, to one length. As in Compel the pooled embeddings are those of the
 * prompts as they are written, signs of weights included, cut to the encoder's length.
 *
 * @throws `ERR_INVALID_ARGUMENT` as `encodeWeightedPrompts`, and for `.and()` with weights, which Compel fails on too
 */
export async function encodeWeightedPair(
  prompts: PromptPair,
  parts: TextPairParts,
  options: WeightingOptions,
): Promise<PairEmbeddings> {
  for (const prompt of prompts.flat())
    if (parseWeightedPrompt(prompt).weights.some((weight) => weight !== 1))
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        "with two text encoders .and() takes no weights: weight the prompts in it instead",
      );
  const { signal } = options;
  const differ = prompts[0].join("\0") !== prompts[1].join("\0");
  return await encodePromptPair(prompts, parts, async (own, { tokenizer, textEncoder, adapterWeights }, index) => {
    const length = promptLength({ tokenizer, textEncoder });
    const encode = async (ids: Tensor, attentionMask: Tensor | undefined) => {
      const { embeddings, pooled } = await penultimateStates(ids, textEncoder, {
        attentionMask,
        signal,
        adapters: adapterWeights,
      });
      pooled?.dispose();
      return embeddings;
    };
    // Encoded with the other encoder's prompts, so that both come to one length.
    const together = differ ? prompts.flat() : own;
    using all = await encodeWeightedPrompts(together, { tokenizer, length, encode }, options);
    const start = differ ? index * own.length : 0;
    using rows = await all.slice(0, start, start + own.length);
    const plain = await encodePenultimate(own, { tokenizer, textEncoder, adapterWeights }, { signal });
    plain.embeddings.dispose();
    return { embeddings: await rows.clone(), pooled: plain.pooled };
  });
}
