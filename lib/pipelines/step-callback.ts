import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Tensor } from "../core/tensor.js";
import { retain } from "../schedulers/expression.js";
import type { EditOptions, StepProgress } from "./edit-options.js";

/** What else a callback of diffusers may replace. */
const DIFFUSERS_REPLACES = ["promptEmbeds", "negativePromptEmbeds", "imageLatents"];

/**
 * Calls the step callback and validates its result.
 *
 * @returns the run's own handle on replacement latents; undefined to continue with those of the step
 * @throws `ERR_INVALID_ARGUMENT` for invalid replacement latents
 */
export async function callOnStep(onStep: EditOptions["onStep"], progress: StepProgress): Promise<Tensor | undefined> {
  const { latents } = progress;
  // Read first, since the callback may dispose of the latents that it replaces.
  const { shape, dtype, device } = latents;
  const returned: unknown = await onStep?.(progress);
  const replacement = replacementOf(returned);
  if (replacement === undefined) return undefined;
  const expected = `${dtype} [${shape}] on ${device}`;
  const given = `${replacement.dtype} [${replacement.shape}] on ${replacement.device}`;
  if (given !== expected)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `onStep returned latents ${given}, expected ${expected}`);
  return await retain(replacement);
}

function replacementOf(returned: unknown): Tensor | undefined {
  if (typeof returned !== "object" || returned === null) return undefined;
  const refuse = (problem: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", `onStep returned ${problem}`);
  if (returned instanceof Tensor) throw refuse("a Tensor; return { latents } to replace the latents");
  const keys = Object.keys(returned);
  const isReplacement = keys.includes("latents") || keys.some((key) => DIFFUSERS_REPLACES.includes(key));
  // An arrow function written as an expression returns whatever the expression is, such as a metrics object.
  if (!isReplacement) return undefined;
  for (const key of keys) if (key !== "latents") throw refuse(`an object with "${key}"; only latents can be replaced`);
  const { latents } = returned as { latents?: unknown };
  if (latents === undefined) return undefined;
  if (!(latents instanceof Tensor)) throw refuse(`latents that are not a Tensor but ${describe(latents)}`);
  return latents;
}
