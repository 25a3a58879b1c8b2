// What a Linux binary asks of the system it is loaded on, as binutils tell it.

import { spawnSync } from "node:child_process";

/**
 * The newest version of each library that the prebuilt binaries may need: those of the systems for which libtorch is made
 * (`manylinux_2_28`), glibc 2.28 and the libstdc++ of GCC 8.
 */
export const NEWEST = { GLIBC: "2.28", GLIBCXX: "3.4.25", CXXABI: "1.3.11", GCC: "8.0.0" };

/** Libraries that every such system has, and those that the preload module has opened before. */
const LIBRARIES =
  /^(lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+)\.so\.\d+|ld-linux-x86-64\.so\.2|lib(c10|torch_cpu|c10_cuda|torch_cuda)\.so)$/;

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
  return binutils("objdump", "-T", path)
    .split("\n")
    .flatMap((line) => {
      const [, library, version, symbol] = /\*UND\*.*\((\w+?)_([\d.]+)\) (\S+)$/.exec(line) ?? [];
      const newest = NEWEST[library];
      return newest !== undefined && newer(version, newest) ? [`${symbol} (${library}_${version})`] : [];
    });
}

/** What is wrong with the way a binary is linked: libraries that other systems lack, or a path of this one. */
export function linkProblems(path) {
  const lines = binutils("readelf", "-d", "-W", path).split("\n");
  return lines.flatMap((line) => {
    const [, needed] = /\(NEEDED\).*\[(.*)\]/.exec(line) ?? [];
    if (needed !== undefined && !LIBRARIES.test(needed)) return [`it needs ${needed}`];
    const [, searched] = /\((?:RPATH|RUNPATH)\).*\[(.*)\]/.exec(line) ?? [];
    return searched ? [`it looks for libraries in ${searched}`] : [];
  });
}
