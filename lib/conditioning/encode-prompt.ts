import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import type { Tensor } from "../core/tensor.js";
import type { CLIPTextModel } from "../models/clip_text_model.js";
import type { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import { encodePrompts, promptLength } from "./prompt.js";
import { PROMPT_WEIGHTINGS, type PromptWeighting } from "./prompt-weightings.js";
import { encodeWeightedPrompts } from "./weighting/encode.js";

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

const OPTIONS = optionNames<EncodePromptOptions>()({ promptWeighting: true, truncateLongPrompts: true, signal: true });

/**
 * The embeddings of prompts, for a pipeline's `promptEmbeds` and `negativePromptEmbeds`. Prompts that must be of one length,
 * such as a prompt and its negative one, are encoded in one call: shorter ones are filled up with the empty prompt.
 *
 * @param text a prompt, or several
 * @returns `promptEmbeds` [B,T,D] in the text encoder's type; T is the text encoder's length, or a multiple of it for
 *   weighted prompts with `.and()` or longer than that with `truncateLongPrompts: false`
 * @throws `ERR_INVALID_ARGUMENT` for an unknown weighting, and for a prompt that Compel's grammar has no meaning for;
 *   `ERR_TOKENIZER`, `ERR_ABORTED`
 */
export async function encodePrompt(
  parts: { tokenizer: CLIPTokenizer; textEncoder: CLIPTextModel },
  text: string | readonly string[],
  options?: EncodePromptOptions,
): Promise<{ promptEmbeds: Tensor }> {
  const { promptWeighting = "none", truncateLongPrompts = true, signal } = checkOptions(options, OPTIONS);
  const prompts = typeof text === "string" ? [text] : text;
  if (!Array.isArray(prompts) || prompts.length === 0 || prompts.some((prompt) => typeof prompt !== "string"))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "text must be a string, or a list of strings");
  if (!PROMPT_WEIGHTINGS.includes(promptWeighting))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `promptWeighting must be ${PROMPT_WEIGHTINGS.map((name) => `"${name}"`).join(" or ")}, not ${JSON.stringify(promptWeighting)}`,
    );
  if (promptWeighting === "none") {
    if (!truncateLongPrompts)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        'truncateLongPrompts: false needs promptWeighting: "compel"; other prompts are always cut',
      );
    return { promptEmbeds: await encodePrompts(prompts, parts, { signal }) };
  }
  const { tokenizer, textEncoder } = parts;
  const encode = async (ids: Tensor, attentionMask: Tensor | undefined) => {
    const output = await textEncoder.forward(ids, { attentionMask, signal });
    output.pooled.dispose();
    return output.lastHiddenState;
  };
  const encoder = { tokenizer, length: promptLength(parts), encode };
  return { promptEmbeds: await encodeWeightedPrompts(prompts, encoder, { truncateLongPrompts, signal }) };
}
