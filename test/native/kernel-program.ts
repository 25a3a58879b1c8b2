import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { packageRoot } from "../../lib/runtime/platform.js";

const run = promisify(execFile);
const KERNELS = "native/kernels/simd";

/** The options that the native build gives to the kernels of an instruction set: to all, and to a source of its own. */
function kernelOptions(set: string): { all: string[]; of: (source: string) => string[] } {
  const cmake = readFileSync(join(packageRoot, "CMakeLists.txt"), "utf8");
  const options = (pattern: RegExp) => pattern.exec(cmake)?.[1]?.split(" ");
  const flags = options(new RegExp(`set\\(flags_${set} (-[^)]+)\\)`));
  if (!flags) throw new Error(`CMakeLists.txt has no flags_${set}`);
  return {
    all: [...flags, "-fno-math-errno"],
    of: (source) => options(new RegExp(`${source} PROPERTIES COMPILE_OPTIONS ([^)]+)\\)`)) ?? [],
  };
}

/**
 * Compiles the kernels for an instruction set as the native build does, with a program that calls them and needs no
 * libtorch.
 *
 * @param main the program's source, with IP2P_SIMD defined as the set
 * @param linkOptions such as `-static`
 * @returns the program's path in the folder
 */
export async function buildKernelProgram(
  compiler: string,
  set: string,
  main: string,
  folder: string,
  linkOptions: readonly string[] = [],
): Promise<string> {
  const { all, of } = kernelOptions(set);
  const sources = readdirSync(join(packageRoot, KERNELS))
    .filter((file) => file.endsWith(".cc"))
    .map((file) => ({ source: `${KERNELS}/${file}`, options: [...all, ...of(file)] }));
  sources.push({ source: main, options: [] });
  const release = ["-std=c++20", "-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-Inative", `-DIP2P_SIMD=${set}`];
  const objects = await Promise.all(
    sources.map(async ({ source, options }, i) => {
      const object = join(folder, `${set}-${i}.o`);
      await run(compiler, [...release, ...options, "-c", source, "-o", object], { cwd: packageRoot });
      return object;
    }),
  );
  const program = join(folder, set);
  await run(compiler, [...objects, ...linkOptions, "-o", program]);
  return program;
}
