import type { PromptCache } from "../../conditioning/prompt-cache.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { PooledCall, PromptCall } from "../call.js";
import { checkSameShape, forEachPrompt, TextEmbeddings, type TextOptions } from "../text.js";
import { NOISE_LEVEL_WIDTH } from "./components.js";

/** A call's prompts as the ×2 latent upscaler takes them, one row for each image. */
export interface PooledText {
  /** [B,T,D] */
  text: TextEmbeddings;
  /** [B,128 + D]: the embedding of noise level 0, and the pooled text. */
  timestepCond: TextEmbeddings;
}

type Encoded = Awaited<ReturnType<PromptCache["encodeLastStates"]>>;

/**
 * Encodes the prompts of a call, and its negative prompts if it is guided. What is returned is in the scope.
 *
 * @throws as `encodeText`
 */
export async function encodePooledText(
  call: PromptCall & PooledCall,
  options: Omit<TextOptions, "clipSkip">,
  scope: Scope,
): Promise<PooledText> {
  using local = new Scope();
  const { cache, finite, guided, signal } = options;
  const own = (states: Encoded): Encoded => {
    local.add(states.embeddings);
    local.add(states.pooled);
    return states;
  };
  const encode = async (texts: readonly string[], length?: number): Promise<Encoded> => {
    const states = own(await cache.encodeLastStates(texts, options, { length, signal }));
    await finite.textEmbeddings(states.embeddings);
    await finite.textEmbeddings(states.pooled);
    return states;
  };
  const given = async (embeddings: Tensor, pooled: Tensor): Promise<Encoded> =>
    own({ embeddings: await embeddings.clone(), pooled: await pooled.clone() });

  const positive = call.promptEmbeds
    ? await given(call.promptEmbeds, call.pooledPromptEmbeds!)
    : await encode(call.prompts!);
  let negative: Encoded | undefined;
  if (guided) {
    negative = call.negativePromptEmbeds
      ? await given(call.negativePromptEmbeds, call.negativePooledPromptEmbeds!)
      : await encode(forEachPrompt(call.negatives ?? [""], call.batch), positive.embeddings.shape[1]);
    checkSameShape({ promptEmbeds: positive.embeddings, negativePromptEmbeds: negative.embeddings });
  }
  const condition = async (states: Encoded) => local.add(await withNoiseLevel(states.pooled));
  const conditions = [await condition(positive), negative && (await condition(negative))] as const;
  const rows = async (of: Tensor, other: Tensor | undefined) =>
    scope.add(await TextEmbeddings.perPicture(of, other, options));
  return {
    text: await rows(positive.embeddings, negative?.embeddings),
    timestepCond: await rows(...conditions),
  };
}

/** The pooled text behind cosine and sine of noise level 0: the condition is never noised. */
async function withNoiseLevel(pooled: Tensor): Promise<Tensor> {
  const level = Float32Array.from({ length: NOISE_LEVEL_WIDTH }, (_, i) => (i < NOISE_LEVEL_WIDTH / 2 ? 1 : 0));
  using scope = new Scope();
  const { dtype, device } = pooled;
  const row = scope.add(await scope.add(Tensor.from(level, [1, NOISE_LEVEL_WIDTH])).to({ dtype, device }));
  const rows = scope.add(await row.repeatInterleave(pooled.shape[0]!, 0));
  return await Tensor.cat([rows, pooled], 1);
}
