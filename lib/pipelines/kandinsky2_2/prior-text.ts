import { promptLength, tokenizePrompts } from "../../conditioning/prompt.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { CLIPTextModelWithProjection } from "../../models/clip_text_model_with_projection.js";
import type { CLIPTokenizer } from "../../tokenizer/clip_tokenizer.js";
import { checkTexts } from "../options.js";

/** The texts of a prior's call. */
export interface PriorTexts {
  /** The prompts, then the negative prompts if any are given: embeddings of both are predicted. */
  texts: readonly string[];
  /** What each is guided away from. */
  away: readonly string[];
  /** Whether the second half are negative prompts. */
  negative: boolean;
}

/** @throws `ERR_INVALID_ARGUMENT` naming the option */
export function checkPriorTexts(prompt: unknown, negativePrompt: unknown): PriorTexts {
  const prompts = checkTexts("prompt", prompt);
  if (negativePrompt === undefined || negativePrompt === null)
    return { texts: prompts, away: prompts.map(() => ""), negative: false };
  const given = checkTexts("negativePrompt", negativePrompt);
  if (given.length !== 1 && given.length !== prompts.length)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${given.length} negative prompts were given for ${prompts.length} prompts`,
    );
  const negatives = given.length === prompts.length ? given : prompts.map(() => given[0]!);
  return { texts: [...prompts, ...negatives], away: [...negatives, ...negatives], negative: true };
}

/** A prior's text conditions, a row for each embedding that is predicted; behind guidance twice as many. */
export interface PriorConditions {
  /** [R,E] */
  embeds: Tensor;
  /** [R,T,D] */
  states: Tensor;
  /** int64 [R,T], 0 for padding */
  mask: Tensor;
}

/**
 * Encodes a call's texts: those guided away from, if there is guidance, before the others, each `times` times.
 *
 * @param scope frees the result
 */
export async function encodePriorTexts(
  { texts, away }: PriorTexts,
  parts: { tokenizer: CLIPTokenizer; textEncoder: CLIPTextModelWithProjection },
  { guided, times, scope, signal }: { guided: boolean; times: number; scope: Scope; signal?: AbortSignal | undefined },
): Promise<PriorConditions> {
  const all = guided ? [...away, ...texts] : texts;
  using own = new Scope();
  const ids = own.add(tokenizePrompts(all, parts));
  const { lastHiddenState, pooled, textEmbeds } = await parts.textEncoder.forward(ids, { signal });
  own.add(pooled);
  const repeated = async (tensor: Tensor) => scope.add(await own.add(tensor).repeatInterleave(times, 0));
  return {
    embeds: await repeated(textEmbeds),
    states: await repeated(lastHiddenState),
    mask: await repeated(maskOf(all, parts)),
  };
}

/** 1 for the tokens of a text, its end among them; 0 for what it is padded with. */
function maskOf(
  texts: readonly string[],
  parts: { tokenizer: CLIPTokenizer; textEncoder: CLIPTextModelWithProjection },
): Tensor {
  const length = promptLength(parts);
  const counts = parts.tokenizer.encode(texts, { truncation: true, maxLength: length }).map((ids) => ids.length);
  const { paddingSide } = parts.tokenizer;
  const mask = counts.flatMap((count) =>
    Array.from({ length }, (_, i) => ((paddingSide === "left" ? i >= length - count : i < count) ? 1n : 0n)),
  );
  return Tensor.from(BigInt64Array.from(mask), [texts.length, length]);
}
