// Makes the tarballs that are published, in dist-packages/:
//
//   node scripts/package.mjs [--build PLATFORM=DIR]… [--out DIR]
//   node scripts/package.mjs --artifacts DIR [--targets TRIPLE,…] [--out DIR]
//   node scripts/package.mjs --collect DIR
//
// Without --artifacts, the platform package is that of this machine, from its own build, and beside it one for every other
// build made here: `npm run package -- --build linux-arm64-gnu=$(node scripts/arm64.mjs build)`. With it, DIR holds the builds
// of several machines, each put there by --collect; --targets then selects among the platforms that package.json names
// (default: all).

import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { abiOf, collectBuild } from "./package/artifacts.mjs";
import { buildProblems, packageProblems } from "./package/checks.mjs";
import { makePackages, readManifest } from "./package/make.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values: flags } = parseArgs({
  options: {
    artifacts: { type: "string" },
    build: { type: "string", multiple: true, default: [] },
    targets: { type: "string" },
    out: { type: "string", default: join(root, "dist-packages") },
    collect: { type: "string" },
  },
});

async function main() {
  const { platformAbi } = await import("../dist/runtime/platform.js");
  const build = join(root, "build", "Release");
  if (flags.collect !== undefined) {
    collectBuild(build, resolve(flags.collect), platformAbi());
    return console.log(`package: collected ${build} in ${join(flags.collect, platformAbi())}`);
  }
  const out = resolve(flags.out);
  const { napi } = readManifest(root);
  let artifacts = flags.artifacts;
  let targets = flags.targets?.split(",") ?? napi.targets;
  if (artifacts === undefined) {
    artifacts = join(out, "artifacts");
    rmSync(artifacts, { recursive: true, force: true });
    const builds = new Map([[platformAbi(), build], ...flags.build.map(otherBuild)]);
    for (const [abi, folder] of builds) {
      if (!targets.some((target) => abiOf(target) === abi))
        throw new Error(`${abi} is not one of the platforms in package.json`);
      collectBuild(folder, artifacts, abi);
    }
    targets = targets.filter((target) => builds.has(abiOf(target)));
  }
  fail(await buildProblems({ root, artifacts, targets }));
  const packages = makePackages({ root, artifacts: resolve(artifacts), targets, out });
  for (const { file, size, unpackedSize } of [...packages.platforms, packages.root])
    console.log(`package: ${join(out, file)}: ${megabytes(size)}, unpacked ${megabytes(unpackedSize)}`);
  const others = napi.targets.filter((target) => !targets.includes(target));
  if (others.length > 0) console.log(`package: skipped: ${others.map(abiOf).join(", ")}`);
  fail(packageProblems({ root, targets, packages }));
}

/** The platform and the folder of a `PLATFORM=DIR`. */
function otherBuild(given) {
  const [, abi, folder] = /^([^=]+)=(.+)$/.exec(given) ?? [];
  if (abi === undefined) throw new Error(`--build takes PLATFORM=DIR, not ${given}`);
  return [abi, resolve(folder)];
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;

function fail(problems) {
  if (problems.length > 0) throw new Error(problems.join("\npackage: "));
}

try {
  await main();
} catch (error) {
  console.error(`package: ${error.message}`);
  process.exitCode = 1;
}
