import type { SystemInfo } from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";
import { describe } from "./arguments.js";
import { InstructPix2PixError } from "./errors.js";
import type { ModelDType } from "./tensor.js";

const DTYPES: readonly ModelDType[] = ["float32", "bfloat16", "float16"];

/**
 * A type option: "auto" is the fastest type for which the device has instructions of its own. On the CPU that is "bfloat16" where
 * the processor computes with it, else "float32"; on CUDA "bfloat16" from compute capability 8.0 on, else "float16".
 */
export type DTypeOption = ModelDType | "auto";

/**
 * Resolves a type option.
 *
 * @param device resolved: "cpu" or "cuda:N"
 * @throws `ERR_INVALID_ARGUMENT` for another word
 */
export function resolveDType(dtype: DTypeOption, device: string): ModelDType {
  if (dtype === "auto") return fastestOn(device);
  if (!DTYPES.includes(dtype))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `dtype must be one of ${DTYPES.join(", ")} and auto, not ${describe(dtype)}`,
    );
  return dtype;
}

/** What "auto" means on a CPU of which this is known. */
export function fastestOnCpu({ bfloat16 }: SystemInfo["cpuArithmetic"]): ModelDType {
  return bfloat16 === "bfloat16" ? "bfloat16" : "float32";
}

function fastestOn(device: string): ModelDType {
  if (device === "cpu") return fastestOnCpu(native().systemInfo().cpuArithmetic);
  return native().cudaProperties(device).computeCapability[0]! >= 8 ? "bfloat16" : "float16";
}
