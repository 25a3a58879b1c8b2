import { InstructPix2PixError } from "../core/errors.js";
import { runProgramSync } from "./child-process.js";
import type { Environment } from "./platform.js";

/** The build tools. */
export interface BuildTools {
  /** The version of CMake. */
  cmake: string;
  /** The CMake generator; undefined for CMake's default. */
  generator?: "Ninja" | "Unix Makefiles";
  /** The C++ compiler that was found; undefined if CMake finds it itself (Windows). */
  compiler?: string;
}

/** The oldest CMake that CMakeLists.txt accepts. */
const OLDEST_CMAKE = [3, 18] as const;

/** A program that needs C++20 in the compiler and its library. */
const CXX20 =
  "#include <concepts>\n#include <span>\nstd::span<const int> s; template <std::integral T> T f(T x) { return x; }\n";

/**
 * Looks for CMake, Ninja or Make, and a C++20 compiler.
 *
 * @throws `ERR_BUILD_TOOLS` naming everything missing and how to install it.
 */
export function findBuildTools(env: Environment = process.env): BuildTools {
  const run = (program: string, args: string[], input?: string) =>
    runProgramSync(program, args, { env, timeout: 60_000, ...(input !== undefined && { input }) });
  const works = (program: string, ...args: string[]) => run(program, args).status === 0;
  const missing: string[] = [];

  const cmake = /cmake version (\d+)\.(\d+)[\w.-]*/.exec(run("cmake", ["--version"]).stdout);
  const [major, minor] = [Number(cmake?.[1]), Number(cmake?.[2])];
  const [oldestMajor, oldestMinor] = OLDEST_CMAKE;
  if (!cmake) missing.push("CMake");
  else if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))
    missing.push(`CMake ${OLDEST_CMAKE.join(".")} or newer (this one is ${major}.${minor})`);
  const tools: BuildTools = { cmake: cmake?.[0].replace("cmake version ", "") ?? "" };

  if (process.platform !== "win32") {
    if (works("ninja", "--version")) tools.generator = "Ninja";
    else if (works("make", "--version")) tools.generator = "Unix Makefiles";
    else missing.push("Ninja or Make");

    const candidates = env.CXX ? [env.CXX] : ["c++", "g++", "clang++"];
    tools.compiler = candidates.find((program) => {
      const [name, ...args] = program.split(" ") as [string, ...string[]];
      return run(name, [...args, "-std=c++20", "-x", "c++", "-fsyntax-only", "-"], CXX20).status === 0;
    });
    if (!tools.compiler) missing.push(env.CXX ? `a C++20 compiler (CXX is ${env.CXX})` : "a C++20 compiler");
  }
  if (missing.length > 0)
    throw new InstructPix2PixError(
      "ERR_BUILD_TOOLS",
      `the addon cannot be built here; missing: ${missing.join(", ")}; ${remedy()}`,
    );
  return tools;
}

function remedy(): string {
  if (process.platform === "darwin") return "run `xcode-select --install` and `brew install cmake ninja`";
  if (process.platform === "win32") return "install Visual Studio 2022 with C++ and CMake";
  return "run `apt-get install cmake ninja-build g++` on Debian or Ubuntu, `dnf install cmake ninja-build gcc-c++` on Fedora; CMake and Ninja also come by `pip install cmake ninja`";
}
