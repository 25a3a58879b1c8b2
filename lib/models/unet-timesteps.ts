import { checkList } from "../core/arguments.js";
import { handleOf, type Tensor } from "../core/tensor.js";
import type { NativeTensor } from "../runtime/contract/index.js";

/** The timesteps of a pass, as the addon takes them. */
export function timestepsArgument(timesteps: number | readonly number[] | Tensor): readonly number[] | NativeTensor {
  if (typeof timesteps === "number") return [timesteps];
  if (Array.isArray(timesteps) && checkList(timesteps, "timesteps").every((step) => typeof step === "number"))
    return timesteps;
  return handleOf(timesteps as Tensor, "timesteps", "a number, a list of numbers, or a Tensor");
}
