import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { DType } from "../../lib/core/tensor.js";
import { native } from "../../lib/runtime/native.js";

/** One call of an operator that has a counterpart named `…_plain`. */
export interface OperatorCase {
  operator: string;
  numbers: readonly number[];
  inputs: readonly { shape: readonly number[]; dtype: DType; mean?: number }[];
  /** How the first input lies in memory, and, if not the same, the gradient of the output. */
  layout?: "contiguous" | "channels-last";
  gradientLayout?: "contiguous" | "channels-last";
  /** Whether the operator has a derivative. Default true. */
  backward?: boolean;
}

/** Of the output and of the gradients of all inputs, in that order. */
export interface Comparison {
  /** Relative distance from the plain operator in float64. */
  own: number[];
  /** The same of the plain operator in the types of the inputs. */
  plain: number[];
  /** Whether every bit is that of the plain operator. */
  identical: boolean;
  dtypes: DType[];
  plainDtypes: DType[];
  /** Of the output and of the first gradient, where the case names a layout. */
  channelsLast: boolean[];
}

type InstructionSet = "avx512_bf16" | "avx512" | "avx2" | "neon_bf16" | "neon";

/** The values of IP2P_CPU_CAPABILITY that differ here, the best first: one that the processor cannot do runs the best that it can. */
export const INSTRUCTION_SETS: readonly InstructionSet[] = instructionSets();

function instructionSets(): InstructionSet[] {
  const { cpuCapability, cpuArithmetic } = native().systemInfo();
  if (process.arch === "arm64") return cpuArithmetic.bfloat16 === "bfloat16" ? ["neon_bf16", "neon"] : ["neon"];
  return cpuCapability.startsWith("AVX512") ? ["avx512_bf16", "avx512", "avx2"] : ["avx2"];
}

/** Those of them without products of bfloat16 numbers. */
export const SETS_WITHOUT_BFLOAT16 = INSTRUCTION_SETS.filter((set) => !set.endsWith("_bf16"));

const program = fileURLToPath(new URL("children/compare.mjs", import.meta.url));

/** Runs cases in a process that uses the instruction set. */
export async function compare(
  set: string,
  cases: readonly OperatorCase[],
  env: Record<string, string> = {},
): Promise<Comparison[]> {
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, NODE_OPTIONS: "", IP2P_CPU_CAPABILITY: set, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.end(JSON.stringify(cases));
  return JSON.parse(await text(child.stdout)) as Comparison[];
}

export const caseName = ({ operator, inputs, layout }: OperatorCase): string =>
  `${operator} [${inputs[0]!.shape}] ${inputs.map(({ dtype }) => dtype).join()} ${layout ?? ""}`;

/**
 * Every error must be at most a fifth larger than that of the plain operator, where it is above what rounding to float32
 * explains.
 */
export function expectAsExactAsPlain(cases: readonly OperatorCase[], results: readonly Comparison[]): void {
  expect(results).toHaveLength(cases.length);
  for (const [i, { own, plain, dtypes, plainDtypes }] of results.entries()) {
    expect(dtypes, caseName(cases[i]!)).toEqual(plainDtypes);
    for (const [j, error] of own.entries())
      expect(error, `${caseName(cases[i]!)}, result ${j}`).toBeLessThanOrEqual(Math.max(1.2 * plain[j]!, 1e-6));
  }
}
