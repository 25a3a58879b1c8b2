import { parseWeightedPrompt } from "../../conditioning/weighting/flatten.js";
import { InstructPix2PixError } from "../../core/errors.js";
import type { PictureValues } from "./options.js";

/**
 * Checks what needs neither files nor a model.
 *
 * @throws `ERR_USAGE` for options that do not go together
 */
export function checkPictureValues({ guidanceStart, guidanceEnd }: PictureValues): void {
  if (guidanceStart > guidanceEnd)
    throw usage(`--guidance_start is ${guidanceStart}, which is above --guidance_end, ${guidanceEnd}`);
}

/** @throws `ERR_USAGE` for a `--max_size` that is neither pixels nor none */
export function checkMaxSizeValue(value: string | undefined): void {
  if (value !== undefined && !/^(?:none|[1-9]\d{0,5})$/.test(value))
    throw usage(`--max_size must be a number of pixels or none, not ${JSON.stringify(value)}`);
}

/** @throws `ERR_INVALID_ARGUMENT` for a prompt without meaning in the grammar of its weights */
export function checkWeightedPrompts({ promptWeighting, prompt, negativePrompt }: PictureValues): void {
  if (promptWeighting === "none") return;
  for (const text of [prompt, negativePrompt]) if (text !== undefined) parseWeightedPrompt(text);
}

export function usage(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_USAGE", problem);
}
