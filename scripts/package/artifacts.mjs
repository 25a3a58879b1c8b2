// The build outputs for the platform packages and their layout: one folder per platform,
//
//   <artifacts>/linux-x64-gnu/{ip2p.linux-x64-gnu.node, ip2p_preload.linux-x64-gnu.node, build.json,
//                              libip2p_cuda.linux-x64-gnu.so if built}

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseTriple } from "@napi-rs/cli";

export const CUDA_LIBRARY = /^(lib)?ip2p_cuda\./;

/** Node.js's platform and architecture, and the ABI: `linux-x64-gnu` for `x86_64-unknown-linux-gnu`. */
export const abiOf = (target) => parseTriple(target).platformArchABI;

/** The names of a platform's required files. */
export const requiredFiles = (abi) => [`ip2p.${abi}.node`, `ip2p_preload.${abi}.node`, "build.json"];

/** The names of a platform's existing files. */
export function artifactFiles(artifacts, abi) {
  const folder = join(artifacts, abi);
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  return names.filter((name) => requiredFiles(abi).includes(name) || CUDA_LIBRARY.test(name));
}

/** The names of a platform's missing files. */
export const missingFiles = (artifacts, abi) =>
  requiredFiles(abi).filter((name) => !existsSync(join(artifacts, abi, name)));

export const readBuildInfo = (artifacts, abi) => JSON.parse(readFileSync(join(artifacts, abi, "build.json"), "utf8"));

/** Copies the outputs in `build/Release` to the platform's folder among the artifacts. */
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
