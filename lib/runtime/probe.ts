import { join } from "node:path";
import type { AddonFiles } from "./addon.js";
import { type ChildResult, nodeProgram, runProgram, runProgramSync } from "./child-process.js";
import type { CudaProperties, CudaVersions, DeviceMemory, SystemInfo } from "./contract/index.js";
import type { Libtorch } from "./libtorch/find.js";
import type { CudaHalf } from "./load.js";
import { cudaDriverLibrary, sharedLibraryName } from "./platform.js";

/** The result of loading in a separate process. */
export type ProbeResult =
  | {
      ok: true;
      /** `library` is tested without a driver too. */
      cuda: CudaHalf;
      system: SystemInfo;
      /** Null without the CUDA library. */
      versions: CudaVersions | null;
      devices: ProbedDevice[];
    }
  | { ok: false; reason: string };

/** A CUDA device that passed a test computation, or the reason for its failure. Properties are null without the CUDA library. */
export type ProbedDevice =
  | { ok: true; properties: CudaProperties | null; memory: DeviceMemory }
  | { ok: false; reason: string };

/**
 * Repeats the steps of loading, without TypeScript, so that a crash while loading a library is contained. The result is
 * written before teardown.
 */
const program = `
const { writeSync } = require("node:fs");
const answer = (value) => {
  writeSync(1, JSON.stringify(value));
  process.kill(process.pid, "SIGKILL");
};
const short = (error) => String(error && error.message || error).split("\\n")[0];
async function probe() {
  const { addon, preload, cpuHalf, driver, cudaHalf, cudaLibrary } = JSON.parse(process.argv[1]);
  const { dlopen } = require(preload);
  for (const path of cpuHalf) dlopen(path);
  let cuda = { state: "absent" };
  if (cudaHalf.length > 0) {
    cuda = { state: "no-driver" };
    try {
      dlopen(driver);
      cuda.state = "failed";
      for (const path of cudaHalf) dlopen(path);
      cuda.state = "loaded";
    } catch (error) {
      cuda.reason = short(error);
    }
  }
  if (cudaHalf.length > 0 && cuda.state !== "failed") {
    cuda.library = { state: cudaLibrary ? "failed" : "absent" };
    try {
      for (const path of cudaLibrary ? [...cudaHalf, cudaLibrary] : []) dlopen(path);
      if (cudaLibrary) cuda.library.state = "loaded";
    } catch (error) {
      cuda.library.reason = short(error);
    }
  }
  const native = require(addon);
  const system = native.systemInfo();
  const devices = [];
  for (let i = 0; i < system.cudaDevices; i++)
    try {
      const name = "cuda:" + i;
      await native.full([1], 0, "float32", name);
      const properties = system.cudaLibrary ? native.cudaProperties(name) : null;
      devices.push({ ok: true, properties, memory: await native.deviceMemory(name) });
    } catch (error) {
      devices.push({ ok: false, reason: short(error) });
    }
  answer({ ok: true, cuda, system, versions: native.cudaVersions(), devices });
}
probe().catch((error) => answer({ ok: false, reason: short(error) }));
`;

/** Loads libtorch and the addon in another process, queries the addon, and tests every CUDA device. */
export async function probeAddon(files: AddonFiles, libtorch: Libtorch, timeout = 120_000): Promise<ProbeResult> {
  const { path, variables } = nodeProgram;
  return resultOf(await runProgram(path, argumentsFor(files, libtorch), { variables, timeout }));
}

/** The synchronous version. */
export function probeAddonSync(files: AddonFiles, libtorch: Libtorch, timeout = 120_000): ProbeResult {
  const { path, variables } = nodeProgram;
  return resultOf(runProgramSync(path, argumentsFor(files, libtorch), { variables, timeout }));
}

function argumentsFor(files: AddonFiles, libtorch: Libtorch): string[] {
  const library = (stem: string) => join(libtorch.root, "lib", sharedLibraryName(stem));
  const request = {
    addon: files.addon,
    preload: files.preload,
    cpuHalf: ["c10", "torch_cpu"].map(library),
    driver: cudaDriverLibrary,
    cudaHalf: libtorch.variant === "cuda" ? ["c10_cuda", "torch_cuda"].map(library) : [],
    cudaLibrary: files.cuda,
  };
  return nodeProgram.args(program, JSON.stringify(request));
}

function resultOf({ stdout, status, signal, error }: ChildResult): ProbeResult {
  try {
    return JSON.parse(stdout) as ProbeResult;
  } catch {
    const ended = `the process that loaded it ended with ${signal ?? `status ${status}`}`;
    return { ok: false, reason: status === null && signal === null && error ? error.message : ended };
  }
}
