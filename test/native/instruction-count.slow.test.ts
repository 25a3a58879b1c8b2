// How much work the hot kernels for processors do, counted in instructions, which a busy machine does not change. After a
// change on purpose:
//
//   IP2P_RECORD=1 npx vitest run test/native/instruction-count.slow.test.ts

import { execFile, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { fixture, readJson } from "../helpers/fixtures.js";
import { temporaryFolder } from "../runtime/libtorch/fixtures.js";
import { buildKernelProgram } from "./kernel-program.js";

interface Recorded {
  compiler: string;
  instructions: Record<string, number>;
}

/** How many times the recorded number a kernel may run. */
const LEAST = 0.9;
const MOST = 1.03;

const run = promisify(execFile);
const path = fixture("instruction-counts.json");
const recording = process.env.IP2P_RECORD === "1";

/** The output of a program, or undefined if it fails. */
function printed(command: string, args: string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** The compiler as far as counts depend on it, such as `g++ 12`. */
function compilerName(): string | undefined {
  const version = printed("g++", ["-dumpversion"]);
  return version === undefined ? undefined : `g++ ${version.split(".")[0]}`;
}

function reasonToSkip(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return "instructions are counted on x86-64 Linux";
  const processor = readFileSync("/proc/cpuinfo", "utf8");
  if (!["avx2", "fma", "f16c"].every((flag) => new RegExp(`^flags.* ${flag}\\b`, "m").test(processor)))
    return "the processor has no AVX2";
  if (printed("valgrind", ["--version"]) === undefined) return "valgrind was not found";
  const compiler = compilerName();
  if (compiler === undefined) return "g++ was not found";
  if (recording) return undefined;
  const { compiler: expected } = readJson<Recorded>(path);
  return compiler === expected ? undefined : `recorded with ${expected}, and this is ${compiler}`;
}

/** The instructions of each kernel by its name. */
async function countInstructions(): Promise<Record<string, number>> {
  const folder = temporaryFolder();
  const out = join(folder, "callgrind");
  const { stdout } = await run("valgrind", [
    "--tool=callgrind",
    "--vgdb=no",
    `--callgrind-out-file=${out}`,
    "--collect-atstart=no",
    "--toggle-collect=measured",
    "--dump-after=measured",
    await buildKernelProgram("g++", "avx2", "test/native/instruction-count/main.cc", folder),
  ]);
  const names = stdout.trim().split("\n");
  return Object.fromEntries(
    names.map((name, i) => [name, Number(/^totals: (\d+)$/m.exec(readFileSync(`${out}.${i + 1}`, "utf8"))![1])]),
  );
}

/** What is wrong with a kernel's count, or undefined. */
function problem(name: string, count: number | undefined, expected: number | undefined): string | undefined {
  if (count === undefined) return `${name}: is recorded and was not counted`;
  if (expected === undefined) return `${name}: ${count} instructions, and none recorded`;
  const share = count / expected;
  const difference = `${name}: ${count} instructions instead of ${expected} (${((share - 1) * 100).toFixed(1)} %)`;
  if (share > MOST) return difference;
  return share < LEAST ? `${difference}; record the better number with IP2P_RECORD=1` : undefined;
}

test("the hot kernels run no more instructions than recorded", async ({ skip }) => {
  const reason = reasonToSkip();
  skip(reason !== undefined, reason);
  const counts = await countInstructions();
  if (recording) {
    writeFileSync(path, `${JSON.stringify({ compiler: compilerName(), instructions: counts }, null, 2)}\n`);
    return;
  }
  const { instructions } = readJson<Recorded>(path);
  const names = new Set([...Object.keys(instructions), ...Object.keys(counts)]);
  expect([...names].flatMap((name) => problem(name, counts[name], instructions[name]) ?? [])).toEqual([]);
});
