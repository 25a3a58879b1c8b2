import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import type { Tensor } from "../core/tensor.js";
import { encodePenultimate, encodePrompts, promptLength, type TextParts } from "./prompt.js";
import { encodePromptPair, encodeWeightedPair, type TextPairParts } from "./prompt-pair.js";
import { PROMPT_WEIGHTINGS, type PromptWeighting } from "./prompt-weightings.js";
import { encodeWeightedPrompts, type WeightingOptions } from "./weighting/encode.js";

/** Options of {@link encodePrompt}. */
export interface EncodePromptOptions {
  /** "none" (default): every character is text. "compel": `(cat)1.3`, `dog++`, `("a", "b").blend(0.3, 0.7)` … */
  promptWeighting?: PromptWeighting;
  /**
   * Whether a prompt with weights is cut to the text encoder's length, as Compel does by default; else it becomes several
   * rows of tokens, one behind the other. Default true, and the only possibility without weighting.
   */
  truncateLongPrompts?: boolean;
  signal?: AbortSignal;
}

/** What a text encoder, or SDXL's two, make of prompts. */
export interface EncodedPrompt {
  /** [B,T,D] in the text encoders' type. */
  promptEmbeds: Tensor;
}

/** Embeddings of a prompt and of the negative prompt. */
export interface EncodedPromptPair extends EncodedPrompt {
  /** [B,E]: the second encoder's projected embeddings, for a pipeline's `pooledPromptEmbeds`. */
  pooledPromptEmbeds: Tensor;
}
const OPTIONS = optionNames<EncodePromptOptions>()({ promptWeighting: true, truncateLongPrompts: true, signal: true });

/**
 * The embeddings of prompts, for a pipeline's `promptEmbeds` and `negativePromptEmbeds`. Prompts that must be of one length,
 * such as a prompt and its negative one, are encoded in one call: shorter ones are filled up with the empty prompt.
 *
 * @param parts a tokenizer and its text encoder, or SDXL's two of each, as a pipeline has them
 * @param text a prompt, or several
 * @returns `promptEmbeds`; T is the text encoder's length, or a multiple of it for weighted prompts with `.and()` or longer
 *   than that with `truncateLongPrompts: false`. With two text encoders `pooledPromptEmbeds` too.
 * @throws `ERR_INVALID_ARGUMENT` for an unknown weighting, and for a prompt that Compel's grammar has no meaning for;
 *   `ERR_TOKENIZER`, `ERR_ABORTED`
 *
 * @example
 * ```js
 * import { encodePrompt, InstructPix2PixPipeline } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * const { tokenizer, textEncoder } = pipe;
 * const { promptEmbeds } = await encodePrompt({ tokenizer, textEncoder }, "make it winter");
 * const { images } = await pipe.run({ image: "photo.jpg", promptEmbeds, numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * ```
 */
export async function encodePrompt(
  parts: TextPairParts,
  text: string | readonly string[],
  options?: EncodePromptOptions,
): Promise<EncodedPromptPair>;
export async function encodePrompt(
  parts: TextParts,
  text: string | readonly string[],
  options?: EncodePromptOptions,
): Promise<EncodedPrompt>;
export async function encodePrompt(
  parts: TextParts | TextPairParts,
  text: string | readonly string[],
  options?: EncodePromptOptions,
): Promise<EncodedPrompt | EncodedPromptPair> {
  const { promptWeighting = "none", truncateLongPrompts = true, signal } = checkOptions(options, OPTIONS);
  const prompts = typeof text === "string" ? [text] : text;
  if (!Array.isArray(prompts) || prompts.length === 0 || prompts.some((prompt) => typeof prompt !== "string"))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "text must be a string, or a list of strings");
  if (!PROMPT_WEIGHTINGS.includes(promptWeighting))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `promptWeighting must be ${PROMPT_WEIGHTINGS.map((name) => `"${name}"`).join(" or ")}, not ${JSON.stringify(promptWeighting)}`,
    );
  if (promptWeighting === "none" && !truncateLongPrompts)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      'truncateLongPrompts: false needs promptWeighting: "compel"; other prompts are always cut',
    );
  const weighting = promptWeighting === "compel" ? { truncateLongPrompts, signal } : undefined;
  if (!("textEncoder2" in parts)) return { promptEmbeds: await byOne(parts, prompts, weighting, signal) };
  const pair = [prompts, prompts] as const;
  const { embeddings, pooled } = weighting
    ? await encodeWeightedPair(pair, parts, weighting)
    : await encodePromptPair(pair, parts, (own, encoder) => encodePenultimate(own, encoder, { signal }));
  return { promptEmbeds: embeddings, pooledPromptEmbeds: pooled };
}

/** [B,T,D]: the last hidden states of one text encoder. */
async function byOne(
  parts: TextParts,
  prompts: readonly string[],
  weighting: WeightingOptions | undefined,
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  if (!weighting) return await encodePrompts(prompts, parts, { signal });
  const { tokenizer, textEncoder, adapterWeights: adapters } = parts;
  const encode = async (ids: Tensor, attentionMask: Tensor | undefined) => {
    const output = await textEncoder.forward(ids, { attentionMask, signal, adapters });
    output.pooled.dispose();
    return output.lastHiddenState;
  };
  return await encodeWeightedPrompts(prompts, { tokenizer, length: promptLength(parts), encode }, weighting);
}
