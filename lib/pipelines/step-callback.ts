import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Tensor } from "../core/tensor.js";
import { retain } from "../schedulers/expression.js";
import type { RunOptions, StepProgress, StepReplacements } from "./run-options.js";

/** Tensors of a step callback beside the latents. */
export type Conditions = Exclude<keyof StepReplacements, "latents">;

/** The conditions of a run that its step callback sees and may replace. */
export interface CallbackTensors {
  /** Belong to the run. Called only if there is a callback. */
  read(): Promise<Pick<StepProgress, Conditions>>;
  /** Uses others from the next step on; they stay the caller's. */
  replace(tensors: Pick<StepReplacements, Conditions>): Promise<void>;
}

/** What a callback is told of a step beside the conditions. */
export type StepDone = Omit<StepProgress, Conditions>;

/** What else callbacks of diffusers may replace, without effect there. */
const WITHOUT_EFFECT = ["negativePromptEmbeds", "negativePooledPromptEmbeds", "negativeAddTimeIds"];

/**
 * Calls the step callback, validates its result, and has the conditions replaced that it returns.
 *
 * @returns the run's own handle on replacement latents; undefined to continue with those of the step
 * @throws `ERR_INVALID_ARGUMENT` for invalid replacements
 */
export async function callOnStep(
  onStep: RunOptions["onStep"],
  progress: StepDone,
  conditions: CallbackTensors,
): Promise<Tensor | undefined> {
  if (!onStep) return undefined;
  const seen: StepProgress = { ...progress, ...(await conditions.read()) };
  // Read first, since the callback may dispose of the tensors that it replaces.
  const before = new Map<string, string>();
  for (const [name, tensor] of Object.entries(seen)) if (tensor instanceof Tensor) before.set(name, kindOf(tensor));
  const returned = replacementsOf(await onStep(seen), [...before.keys()]);
  for (const [name, tensor] of Object.entries(returned)) {
    const [given, expected] = [kindOf(tensor), before.get(name)];
    if (given !== expected)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `onStep returned ${name} ${given}, expected ${expected}`);
  }
  const { latents, ...others } = returned;
  if (Object.keys(others).length > 0) await conditions.replace(others);
  return latents && (await retain(latents));
}

function kindOf({ dtype, shape, device }: Tensor): string {
  return `${dtype} [${shape}] on ${device}`;
}

function replacementsOf(returned: unknown, known: readonly string[]): Record<string, Tensor> {
  if (typeof returned !== "object" || returned === null) return {};
  const refuse = (problem: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", `onStep returned ${problem}`);
  if (returned instanceof Tensor) throw refuse("a Tensor; return { latents } to replace the latents");
  const keys = Object.keys(returned);
  // An arrow function written as an expression returns whatever the expression is, such as a metrics object.
  if (!keys.some((key) => known.includes(key) || WITHOUT_EFFECT.includes(key))) return {};
  const result: Record<string, Tensor> = {};
  for (const [key, value] of Object.entries(returned as Record<string, unknown>)) {
    if (!known.includes(key)) throw refuse(`an object with "${key}"; only ${known.join(", ")} can be replaced`);
    if (value === undefined) continue;
    if (!(value instanceof Tensor)) throw refuse(`${key} that are not a Tensor but ${describe(value)}`);
    result[key] = value;
  }
  return result;
}
