// What a build leaves for a platform package, and how it is laid out on its way there: one folder per platform,
//
//   <artifacts>/linux-x64-gnu/{ip2p.linux-x64-gnu.node, ip2p_preload.linux-x64-gnu.node, build.json,
//                              libip2p_cuda.linux-x64-gnu.so where the build made it}

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseTriple } from "@napi-rs/cli";

export const CUDA_LIBRARY = /^(lib)?ip2p_cuda\./;

/** Node.js's platform and architecture, and the ABI: `linux-x64-gnu` for `x86_64-unknown-linux-gnu`. */
export const abiOf = (target) => parseTriple(target).platformArchABI;

/** The names of the files of one platform that must be there. */
export const requiredFiles = (abi) => [`ip2p.${abi}.node`, `ip2p_preload.${abi}.node`, "build.json"];

/** The names of all files of one platform that are there. */
export function artifactFiles(artifacts, abi) {
  const folder = join(artifacts, abi);
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  return names.filter((name) => requiredFiles(abi).includes(name) || CUDA_LIBRARY.test(name));
}

/** The names of the files of one platform that are missing. */
export const missingFiles = (artifacts, abi) =>
  requiredFiles(abi).filter((name) => !existsSync(join(artifacts, abi, name)));

export const readBuildInfo = (artifacts, abi) => JSON.parse(readFileSync(join(artifacts, abi, "build.json"), "utf8"));

/** Copies what a build left in `build/Release` to the place of its platform among the artifacts. */
export function collectBuild(buildFolder, artifacts, abi) {
  const target = join(artifacts, abi);
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  for (const name of readdirSync(buildFolder)) {
    const collected = ["ip2p.node", "ip2p_preload.node"].includes(name) || CUDA_LIBRARY.test(name);
    if (collected) copyFileSync(join(buildFolder, name), join(target, name.replace(".", `.${abi}.`)));
    else if (name === "build.json") copyFileSync(join(buildFolder, name), join(target, name));
  }
}
