// Checks of builds and tarballs. Each function returns a list of violations, one sentence each.

import { join } from "node:path";
import { abiOf, artifactFiles, missingFiles, readBuildInfo } from "./artifacts.mjs";
import { linkProblems, machineProblems, tooNewSymbols } from "./elf.mjs";
import { readManifest } from "./make.mjs";
import { ROOT_LIMIT } from "./pack.mjs";

/** Scripts that package managers run when a package is installed, or refuse to run. */
const INSTALL_SCRIPTS = ["preinstall", "install", "postinstall", "prepare", "preprepare", "postprepare"];

/** The builds of the platforms: complete, of this version, for the release's libtorch, compatible with old systems. */
export async function buildProblems({ root, artifacts, targets }) {
  const { version } = readManifest(root);
  const { LIBTORCH_VERSION } = await import("../../dist/runtime/version.js");
  return targets.flatMap((target) => {
    const abi = abiOf(target);
    const missing = missingFiles(artifacts, abi);
    if (missing.length > 0) return [`${abi}: missing from ${join(artifacts, abi)}: ${missing.join(", ")}`];
    const build = readBuildInfo(artifacts, abi);
    const problems = [];
    if (build.version !== version)
      problems.push(`${abi}: it was built for version ${build.version}, not ${version}; build again`);
    if (build.libtorch !== LIBTORCH_VERSION)
      problems.push(`${abi}: it was built against libtorch ${build.libtorch}, releases are for ${LIBTORCH_VERSION}`);
    return [...problems, ...(target.includes("linux") ? elfProblems(artifacts, abi) : [])];
  });
}

function elfProblems(artifacts, abi) {
  return artifactFiles(artifacts, abi)
    .filter((name) => name !== "build.json")
    .flatMap((name) => {
      const path = join(artifacts, abi, name);
      const symbols = tooNewSymbols(path);
      const problems = [...machineProblems(path, abi), ...linkProblems(path)].map((problem) => `${name}: ${problem}`);
      if (symbols.length > 0)
        problems.push(
          `${name}: older systems lack ${symbols.join(", ")}; see native/compat/old_glibc.c, or build on an older system`,
        );
      return problems;
    });
}

/** The tarballs: same version, depending on one another, small enough, and without install scripts. */
export function packageProblems({ root, targets, packages }) {
  const { version, napi, name } = readManifest(root);
  const wanted = Object.fromEntries(targets.map((target) => [`${napi.packageName}-${abiOf(target)}`, version]));
  const problems = [];
  const all = [packages.root, ...packages.platforms];
  for (const each of all) {
    const { manifest } = each;
    if (each.version !== version) problems.push(`${each.name} is version ${each.version}, not ${version}`);
    for (const script of INSTALL_SCRIPTS)
      if (manifest.scripts?.[script]) problems.push(`${each.name} has a script that runs at installation: ${script}`);
    if (each.files.includes("binding.gyp"))
      problems.push(`${each.name} contains binding.gyp, for which npm would run node-gyp at installation`);
  }
  const names = packages.platforms.map((each) => each.name).sort();
  if (names.join() !== Object.keys(wanted).sort().join())
    problems.push(`the platform packages are ${names.join(", ") || "none"}, not ${Object.keys(wanted).join(", ")}`);
  const bound = packages.root.manifest.optionalDependencies ?? {};
  for (const each of new Set([...Object.keys(wanted), ...Object.keys(bound)]))
    if (bound[each] !== wanted[each])
      problems.push(
        `${name}: the dependency on ${each} is ${bound[each] ?? "missing"} and must be ${wanted[each] ?? "absent"}`,
      );
  for (const { manifest } of packages.platforms) {
    if (!manifest.os || !manifest.cpu) problems.push(`${manifest.name} names no os or cpu`);
    // Without it npm would install it on musl, where it cannot be loaded.
    if (manifest.name.endsWith("-gnu") && manifest.libc?.join() !== "glibc")
      problems.push(`${manifest.name} is not limited to glibc`);
  }
  if (packages.root.size >= ROOT_LIMIT)
    problems.push(`${name} has ${packages.root.size} bytes, the limit is ${ROOT_LIMIT}`);
  for (const needed of [
    "dist/index.js",
    "dist/cli/main.js",
    "dist/web/index.html",
    "CMakeLists.txt",
    "models/tiny/model_index.json",
    "models/photo/model_index.json",
  ])
    if (!packages.root.files.includes(needed)) problems.push(`${name} lacks ${needed}`);
  return problems;
}
