// Lays the packages out as folders, ready for `npm pack`. The napi-rs command line makes the platform packages and the
// dependencies on them; everything it does not know about is added here.

import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { abiOf, artifactFiles, CUDA_LIBRARY, readBuildInfo } from "./artifacts.mjs";

/** npm adds these to every package. */
const ALWAYS = ["README.md", "LICENSE"];

const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));
const writeJson = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);

function napi(folder, ...args) {
  const cli = join(dirname(createRequire(import.meta.url).resolve("@napi-rs/cli/package.json")), "cli.mjs");
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`napi ${args.join(" ")} ended with ${status}:\n${stdout}${stderr}`);
}

/**
 * @param root the repository.
 * @param targets the Rust names of the platforms to make packages for.
 * @param artifacts the folder that artifacts.mjs describes.
 * @param staging the destination; emptied first.
 * @returns the folder of the root package, and of each platform's.
 */
export function stagePackages({ root, targets, artifacts, staging }) {
  rmSync(staging, { recursive: true, force: true });
  const folder = join(staging, "root");
  mkdirSync(folder, { recursive: true });
  const manifest = readJson(join(root, "package.json"));
  for (const name of [...manifest.files, ...ALWAYS])
    cpSync(join(root, name), join(folder, name), { recursive: true, filter: (path) => !path.endsWith(".sources") });
  const { scripts: _scripts, devDependencies: _devDependencies, ...rest } = manifest;
  const published = { ...rest, ...repositoryOf(process.env) };
  writeJson(join(folder, "package.json"), { ...published, napi: { ...manifest.napi, targets } });

  const binaries = join(folder, "artifacts");
  mkdirSync(binaries);
  for (const abi of targets.map(abiOf))
    copyFileSync(join(artifacts, abi, `ip2p.${abi}.node`), join(binaries, `ip2p.${abi}.node`));
  napi(folder, "create-npm-dirs");
  napi(folder, "artifacts");
  napi(folder, "pre-publish", "--tag-style", "npm", "--skip-optional-publish", "--no-gh-release");
  const platforms = targets.map((target) => {
    const abi = abiOf(target);
    completePlatformPackage(root, join(folder, "npm", abi), artifacts, abi);
    return join(folder, "npm", abi);
  });

  const { napi: _napi, ...withDependencies } = readJson(join(folder, "package.json"));
  writeJson(join(folder, "package.json"), withDependencies);
  return { folder, platforms };
}

/** The repository whose workflow packs this: npm compares the signed provenance with it. */
function repositoryOf({ GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: name }) {
  return server && name ? { repository: { type: "git", url: `git+${server}/${name}.git` } } : {};
}

/** Adds the files that the addon needs beside it, and lists them in the manifest. */
function completePlatformPackage(root, folder, artifacts, abi) {
  const files = artifactFiles(artifacts, abi);
  for (const name of files) copyFileSync(join(artifacts, abi, name), join(folder, name));
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  const manifest = readJson(join(folder, "package.json"));
  // Native code is loaded from the disk, never from an archive.
  writeJson(join(folder, "package.json"), {
    ...manifest,
    ...repositoryOf(process.env),
    type: "commonjs",
    files,
    preferUnplugged: true,
  });
  const { libtorch, commit } = readBuildInfo(artifacts, abi);
  const cuda = files.some((name) => CUDA_LIBRARY.test(name)) ? ", and its CUDA library" : "";
  writeFileSync(
    join(folder, "README.md"),
    [
      `# ${manifest.name}`,
      "",
      `The native addon of instruct-pix2pix for ${abi}${cuda}, built`,
      `against libtorch ${libtorch}${commit ? ` from commit ${commit}` : ""}. Install instruct-pix2pix, which chooses this by itself.`,
      "",
    ].join("\n"),
  );
}
