import type { PromptCache } from "../../conditioning/prompt-cache.js";
import {
  encodePromptPair,
  encodeWeightedPair,
  type PairEmbeddings,
  type TextPairParts,
} from "../../conditioning/prompt-pair.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import { checkPooled, checkPrompts, type PooledCall, type PromptCall } from "../call.js";
import type { FiniteChecks } from "../finite.js";
import type { Placement } from "../latents.js";
import { checkTexts } from "../options.js";
import { checkSameShape, forEachPrompt, TextEmbeddings } from "../text.js";
import type { PromptPairOptions } from "./options.js";

/** The prompts of a call, for two text encoders. */
export interface PromptPairCall extends PromptCall, PooledCall {
  prompts2: readonly string[] | undefined;
  negatives2: readonly string[] | undefined;
}

/**
 * Validates prompts. As in diffusers an empty second prompt is the first one.
 *
 * @param width features of the embeddings that the UNet takes
 * @param pooledWidth features of the pooled ones
 * @throws `ERR_INVALID_ARGUMENT` naming the option
 */
export function checkPromptPair(
  options: PromptPairOptions,
  width: number | readonly number[],
  pooledWidth: number,
): PromptPairCall {
  const call = checkPrompts(options, width);
  const pooled = checkPooled(options, call.batch, pooledWidth);
  for (const [embeds, second] of [
    ["promptEmbeds", "prompt2"],
    ["negativePromptEmbeds", "negativePrompt2"],
  ] as const)
    if (options[embeds] && options[second])
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `give ${second} or ${embeds}, not both`);
  const secondOf = (name: "prompt2" | "negativePrompt2", first: readonly string[] | undefined) => {
    if (!options[name]) return first;
    const texts = checkTexts(name, options[name]);
    if (texts.length !== 1 && texts.length !== call.batch)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `${texts.length} texts were given as ${name} for ${call.batch} prompts`,
      );
    return texts;
  };
  return {
    ...call,
    prompts2: secondOf("prompt2", call.prompts),
    negatives2: secondOf("negativePrompt2", call.negatives),
    ...pooled,
  };
}

export interface PairOptions extends TextPairParts, Placement {
  /** One for each encoder. */
  caches: readonly PromptCache[];
  finite: FiniteChecks;
  /** Whether negative prompts are needed. */
  guided: boolean;
  /** Whether they are zeros where none are given. */
  forceZeros: boolean;
  numImagesPerPrompt: number;
  clipSkip?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** A call's prompts as embeddings, one row for each image. */
export interface PairConditions {
  text: TextEmbeddings;
  pooled: TextEmbeddings;
}

/**
 * Encodes the prompts of a call, and its negative prompts if it is guided. What is returned is in the scope.
 *
 * @throws as `encodeText`
 */
export async function encodeTextPair(
  call: PromptPairCall,
  options: PairOptions,
  scope: Scope,
): Promise<PairConditions> {
  using local = new Scope();
  const { guided, finite } = options;
  const own = ({ embeddings, pooled }: PairEmbeddings) => {
    local.add(embeddings);
    local.add(pooled);
    return { embeddings, pooled };
  };
  const given = async (embeds: Tensor, pooled: Tensor) =>
    own({ embeddings: await embeds.clone(), pooled: await pooled.clone() });
  const zeros = async ({ embeddings, pooled }: PairEmbeddings) =>
    own({
      embeddings: await Tensor.zeros(embeddings.shape, embeddings),
      pooled: await Tensor.zeros(pooled.shape, pooled),
    });
  const checked = async (pair: PairEmbeddings) => {
    await finite.textEmbeddings(pair.embeddings);
    await finite.textEmbeddings(pair.pooled);
    return pair;
  };
  const isZero = options.forceZeros && call.negatives === undefined;
  const negativePair = () => {
    const first = forEachPrompt(call.negatives ?? [""], call.batch);
    return [first, forEachPrompt(call.negatives2 ?? first, call.batch)] as const;
  };
  let positive: PairEmbeddings;
  let negative: PairEmbeddings | undefined;
  if (call.promptWeighting === "compel") {
    const pair = positivePair(call);
    const texts = guided && !isZero ? joined(pair, negativePair()) : pair;
    const weighting = { truncateLongPrompts: true, signal: options.signal };
    const all = own(await encodeWeightedPair(texts, options, weighting));
    const part = async (start: number): Promise<PairEmbeddings> => ({
      embeddings: local.add(await all.embeddings.slice(0, start, start + call.batch)),
      pooled: local.add(await all.pooled.slice(0, start, start + call.batch)),
    });
    positive = await checked(await part(0));
    if (guided) negative = isZero ? await zeros(positive) : await checked(await part(call.batch));
  } else {
    const { caches, signal } = options;
    const encode = async (texts: ReturnType<typeof positivePair>, more: { length?: number; skippedLayers?: number }) =>
      await checked(
        own(
          await encodePromptPair(texts, options, (prompts, parts, i) =>
            caches[i]!.encodePenultimate(prompts, parts, { ...more, signal }),
          ),
        ),
      );
    positive = call.promptEmbeds
      ? await given(call.promptEmbeds, call.pooledPromptEmbeds!)
      : await encode(positivePair(call), { skippedLayers: options.clipSkip ?? 0 });
    if (guided) {
      if (call.negativePromptEmbeds)
        negative = await given(call.negativePromptEmbeds, call.negativePooledPromptEmbeds!);
      else if (isZero) negative = await zeros(positive);
      else negative = await encode(negativePair(), { length: positive.embeddings.shape[1]! });
    }
  }
  if (negative) checkSameShape({ promptEmbeds: positive.embeddings, negativePromptEmbeds: negative.embeddings });
  const rows = async (kind: keyof PairEmbeddings) =>
    scope.add(await TextEmbeddings.perPicture(positive[kind], negative?.[kind], options));
  return { text: await rows("embeddings"), pooled: await rows("pooled") };
}

function positivePair({ prompts, prompts2, batch }: PromptPairCall): readonly [readonly string[], readonly string[]] {
  return [prompts!, forEachPrompt(prompts2!, batch)];
}

function joined(
  [a1, a2]: ReturnType<typeof positivePair>,
  [b1, b2]: ReturnType<typeof positivePair>,
): ReturnType<typeof positivePair> {
  return [
    [...a1, ...b1],
    [...a2, ...b2],
  ];
}
