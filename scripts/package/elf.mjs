// What a Linux binary requires of the system, according to binutils.

import { spawnSync } from "node:child_process";

/**
 * The newest version of each library that the prebuilt binaries may need: those of the systems that libtorch is built for
 * (`manylinux_2_28`), glibc 2.28 and the libstdc++ of GCC 8.
 */
export const NEWEST = { GLIBC: "2.28", GLIBCXX: "3.4.25", CXXABI: "1.3.11", GCC: "8.0.0" };

/** Libraries that every such system has, and those that the preload module has already opened. */
const LIBRARIES =
  /^(lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+)\.so\.\d+|ld-linux-(x86-64\.so\.2|aarch64\.so\.1)|lib(c10|torch_cpu|c10_cuda|torch_cuda)\.so)$/;

function binutils(program, ...args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

/** Whether version `a` is newer than `b`. */
const newer = (a, b) => a.localeCompare(b, "en", { numeric: true }) > 0;

/** The undefined symbols of a binary that are newer than {@link NEWEST}, e.g. `pow (GLIBC_2.29)`. */
export function tooNewSymbols(path) {
  // Unlike objdump, readelf knows every processor.
  return binutils("readelf", "--dyn-syms", "-W", path)
    .split("\n")
    .flatMap((line) => {
      const [, symbol, library, version] = / UND (\S+?)@+(\w+?)_([\d.]+)(?: \(\d+\))?$/.exec(line.trimEnd()) ?? [];
      const newest = NEWEST[library];
      return newest !== undefined && newer(version, newest) ? [`${symbol} (${library}_${version})`] : [];
    });
}

/** readelf's names of processors, by Node.js's. */
const MACHINES = { x64: "Advanced Micro Devices X86-64", arm64: "AArch64" };

/** Whether a binary is for another processor than a platform's, such as `linux-arm64-gnu`. */
export function machineProblems(path, abi) {
  const [, found] = /^ *Machine: +(.*)$/m.exec(binutils("readelf", "-h", path)) ?? [];
  const wanted = MACHINES[abi.split("-")[1]];
  return found === wanted ? [] : [`it is for ${found}, not for ${wanted}`];
}

/** Linking faults of a binary: libraries that other systems lack, or an rpath of this machine. */
export function linkProblems(path) {
  const lines = binutils("readelf", "-d", "-W", path).split("\n");
  return lines.flatMap((line) => {
    const [, needed] = /\(NEEDED\).*\[(.*)\]/.exec(line) ?? [];
    if (needed !== undefined && !LIBRARIES.test(needed)) return [`it needs ${needed}`];
    const [, searched] = /\((?:RPATH|RUNPATH)\).*\[(.*)\]/.exec(line) ?? [];
    return searched ? [`it looks for libraries in ${searched}`] : [];
  });
}
