import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions } from "../core/known-options.js";
import { freeBytes } from "../files/disk.js";
import { type AddonFiles, findAddon } from "./addon.js";
import { describeHost, type Host } from "./host.js";
import { detectLibc, type Libc } from "./libc.js";
import { type CudaDriver, detectCudaDriver } from "./libtorch/cuda-driver.js";
import { type Libtorch, resolveLibtorch } from "./libtorch/find.js";
import { LOAD_OPTIONS, type LoadOptions } from "./load.js";
import { assertSupportedPlatform, cacheFolder, isEnabled, OLDEST_GLIBC, packageRoot, platformAbi } from "./platform.js";
import { type ProbeResult, probeAddon } from "./probe.js";
import { assertVersion } from "./version.js";

/** A problem with a required part. */
export interface Problem {
  /** The part of the report it belongs to. */
  part: "platform" | "libtorch" | "addon" | "loading" | "cache";
  code: string;
  /** The problem and its fix; the first line is the summary. */
  message: string;
}

/** Everything on this machine that determines whether and how the package works. */
export interface Diagnosis {
  /** True if there is no problem. */
  ok: boolean;
  package: { root: string };
  node: { version: string; napi: string };
  platform: {
    abi: string;
    /** The version of the C library. */
    libc: string | null;
    /** The oldest one supported by libtorch and the prebuilt addon; null where not applicable. */
    oldestLibc: string | null;
  };
  host: Host;
  libtorch: Libtorch | null;
  addon: AddonFiles | null;
  /** The result of loading both in another process, with the CUDA devices found; null if one of them is missing. */
  loading: ProbeResult | null;
  cuda: CudaDriver;
  cache: { folder: string; exists: boolean; freeBytes: number | null };
  problems: Problem[];
}

/**
 * Checks everything; never throws.
 *
 * @example
 * ```js
 * import { diagnose } from "instruct-pix2pix";
 *
 * const { ok, problems } = await diagnose();
 * for (const { code, message } of problems) console.log(code, message);
 * console.log(ok ? "everything needed is installed" : "something is missing");
 * ```
 */
export async function diagnose(options: LoadOptions = {}, libc: Libc = detectLibc()): Promise<Diagnosis> {
  checkOptions(options, LOAD_OPTIONS);
  const env = options.env ?? process.env;
  const problems: Problem[] = [];
  const examine = <T>(part: Problem["part"], get: () => T): T | null => {
    try {
      return get();
    } catch (error) {
      const code = error instanceof InstructPix2PixError ? error.code : "ERR_INTERNAL";
      problems.push({ part, code, message: (error as Error).message });
      return null;
    }
  };
  examine("platform", () => assertSupportedPlatform(libc));
  const first = examine("libtorch", () => resolveLibtorch(options));
  const addon = examine("addon", () => findAddon(options.root));
  const built = addon?.build?.libtorch;
  const libtorch = first && built ? resolveLibtorch({ ...options, preferredVersion: built }) : first;
  if (libtorch && !isEnabled(env.LIBTORCH_BYPASS_VERSION_CHECK))
    examine("libtorch", () => assertVersion(libtorch, built));

  const loading = addon && libtorch ? await probeAddon(addon, libtorch) : null;
  if (loading && !loading.ok)
    problems.push({
      part: "loading",
      code: "ERR_LIBTORCH",
      message: `libtorch and the addon do not load together: ${loading.reason}; run \`npx ip2p build --clean\``,
    });
  const folder = cacheFolder(env);
  return {
    ok: problems.length === 0,
    package: { root: options.root ?? packageRoot },
    node: { version: process.version, napi: process.versions.napi ?? "unknown" },
    platform: {
      abi: platformAbi(),
      libc: libc.version,
      oldestLibc: process.platform === "linux" ? OLDEST_GLIBC : null,
    },
    host: describeHost(),
    libtorch,
    addon,
    loading,
    cuda: detectCudaDriver(),
    cache: { folder, exists: existsSync(folder), freeBytes: await freeWhere(folder) },
    problems,
  };
}

/** Free bytes where the folder is, or where the nearest one above it that exists is. */
async function freeWhere(folder: string): Promise<number | null> {
  for (let path = folder; ; path = dirname(path)) {
    if (existsSync(path)) return freeBytes(path).catch(() => null);
    if (path === dirname(path)) return null;
  }
}
