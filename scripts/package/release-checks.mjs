// Checks of the repository before a release. Each function returns a list of violations, one sentence each.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { abiOf, artifactFiles, CUDA_LIBRARY, missingFiles, readBuildInfo } from "./artifacts.mjs";
import { readManifest } from "./make.mjs";

function git(root, ...args) {
  const { status, stdout, stderr, error } = spawnSync("git", args, { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`git ${args.join(" ")}: ${error?.message ?? stderr.trim()}`);
  return stdout.trim();
}

/** The working tree, the tag, and every file that names the version. */
export function repositoryProblems(root) {
  const { version } = readManifest(root);
  const problems = [];
  const changed = git(root, "status", "--porcelain").split("\n").filter(Boolean);
  if (changed.length > 0)
    problems.push(`the working tree differs from the last commit: ${changed.map((line) => line.trim()).join(", ")}`);
  const tagged = git(root, "tag", "--list", `v${version}`) && git(root, "rev-list", "-n", "1", `v${version}`);
  if (tagged && tagged !== git(root, "rev-parse", "HEAD"))
    problems.push(`the tag v${version} exists already, at another commit: ${tagged}`);

  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  for (const found of new Set([lock.version, lock.packages[""].version]))
    if (found !== version) problems.push(`package-lock.json has version ${found}, package.json ${version}`);

  const [, newest, text] = /^## +\[?([^\]\s]+)\]?[^\n]*\n([\s\S]*?)(?=^## |(?![\s\S]))/m.exec(
    readFileSync(join(root, "CHANGELOG.md"), "utf8"),
  ) ?? ["", "nothing", ""];
  if (newest !== version) problems.push(`the newest version in CHANGELOG.md is ${newest}, not ${version}`);
  else if (text.trim() === "") problems.push(`CHANGELOG.md has no text for ${version}`);
  const changesets = join(root, ".changeset");
  const pending = (existsSync(changesets) ? readdirSync(changesets) : []).filter(
    (name) => name.endsWith(".md") && name !== "README.md",
  );
  if (pending.length > 0)
    problems.push(`changesets have not been applied: ${pending.join(", ")}; run \`npm run release:version\``);
  return problems;
}

/** The builds: of exactly this commit, and with the CUDA library where a libtorch for CUDA is pinned. */
export async function originProblems({ root, artifacts, targets, withoutCuda }) {
  const { releaseFor } = await import("../../dist/runtime/libtorch/releases.js");
  const takesCuda = (abi) => releaseFor(abi).recipes.some(({ variant }) => variant === "cuda");
  const head = git(root, "rev-parse", "HEAD");
  return targets.map(abiOf).flatMap((abi) => {
    if (missingFiles(artifacts, abi).length > 0) return [];
    const problems = [];
    const { commit } = readBuildInfo(artifacts, abi);
    if (commit !== head) problems.push(`${abi}: it was built from ${commit ?? "an unknown commit"}, not from ${head}`);
    const cuda = artifactFiles(artifacts, abi).some((name) => CUDA_LIBRARY.test(name));
    if (takesCuda(abi) && !cuda && !withoutCuda)
      problems.push(`${abi}: the CUDA library is missing; build against a CUDA libtorch, or pass --without-cuda`);
    return problems;
  });
}
