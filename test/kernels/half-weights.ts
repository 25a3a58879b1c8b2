import { fileURLToPath } from "node:url";
import { runProgram } from "../cli/run-cli.js";

/** A model whose weights are in half precision, beside one in float32 with the same weights. */
export interface HalfModel {
  model: string;
  dtype: string;
  /** The type of its result. */
  given: string;
  /** Relative distance of the results. */
  error: number;
  /** The same of the float32 result rounded to the type. */
  rounding: number;
}

const program = fileURLToPath(new URL("children/half-weights.mjs", import.meta.url));

/**
 * Computes with models in half precision in a process that uses the instruction set. `auto` are the types of a model and of a
 * pipeline's model that were loaded with the type "auto".
 */
export async function measureModels(
  set: string,
): Promise<{ arithmetic: Record<"bfloat16" | "float16", string>; results: HalfModel[]; auto: string[] }> {
  const env = { IP2P_CPU_CAPABILITY: set, NODE_OPTIONS: "" };
  const { status, stdout, stderr } = await runProgram(program, [], { cwd: process.cwd(), env });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}
