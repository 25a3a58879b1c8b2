// Makes a release, or lists everything that prevents it. docs/packaging.md describes the whole procedure.
//
//   node scripts/release.mjs [--artifacts DIR] [--targets TRIPLE,…] [--without-cuda] [--dry-run | --publish] [--tag TAG]
//
// Without --publish nothing leaves this machine: the tarballs are made and checked, and what would be published is
// printed. The release workflow stops there and publishes in a job of its own; --publish is for the first version, as
// the user logged in to npm. --artifacts holds the builds of all platforms, as `scripts/package.mjs --collect` leaves
// them; without it this machine's build is used, which suffices only with --targets.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { collectBuild } from "./package/artifacts.mjs";
import { buildProblems, packageProblems } from "./package/checks.mjs";
import { makePackages, readManifest } from "./package/make.mjs";
import { npm } from "./package/pack.mjs";
import { originProblems, repositoryProblems } from "./package/release-checks.mjs";

const { values: flags } = parseArgs({
  options: {
    artifacts: { type: "string" },
    targets: { type: "string" },
    "without-cuda": { type: "boolean", default: false },
    "dry-run": { type: "boolean", default: false },
    publish: { type: "boolean", default: false },
    tag: { type: "string", default: "latest" },
    root: { type: "string", default: fileURLToPath(new URL("..", import.meta.url)) },
  },
});

class Refusal extends Error {}

function refuseFor(problems) {
  if (problems.length > 0) throw new Refusal(problems.map((problem) => `  - ${problem}`).join("\n"));
}

async function main(scratch) {
  const root = resolve(flags.root);
  const { name, version, napi } = readManifest(root);
  if (flags.publish && flags["dry-run"]) throw new Error("--publish and --dry-run exclude one another");
  const targets = flags.targets?.split(",") ?? napi.targets;
  const artifacts = flags.artifacts ? resolve(flags.artifacts) : scratch;
  if (!flags.artifacts) {
    const { platformAbi } = await import("../dist/runtime/platform.js");
    collectBuild(join(root, "build", "Release"), artifacts, platformAbi());
  }
  refuseFor([
    ...repositoryProblems(root),
    ...(await buildProblems({ root, artifacts, targets })),
    ...(await originProblems({ root, artifacts, targets, withoutCuda: flags["without-cuda"] })),
  ]);
  const out = join(root, "dist-packages");
  const packages = makePackages({ root, artifacts, targets, out });
  refuseFor(packageProblems({ root, targets, packages }));

  // The platform packages first: users can install the root package as soon as it is published.
  for (const { path } of [...packages.platforms, packages.root]) {
    const args = ["publish", path, "--access", "public", "--tag", flags.tag];
    console.log(`npm ${args.join(" ")}`);
    if (flags.publish && npm(args, { stdio: "inherit" }).status !== 0)
      throw new Error(`${path} was not published; the packages listed above it were`);
  }
  console.log(`git tag v${version} && git push origin v${version}`);
  console.log(flags.publish ? `${name} ${version} is published` : "nothing was published; pass --publish to publish");
}

const scratch = mkdtempSync(join(tmpdir(), "ip2p-release-"));
try {
  await main(scratch);
} catch (error) {
  console.error(error instanceof Refusal ? `release: refused\n${error.message}` : `release: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true });
}
