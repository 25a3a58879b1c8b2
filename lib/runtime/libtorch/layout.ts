/** The parts of libtorch to unpack. */
export interface Selection {
  /** Whether the CUDA half is left out. */
  cpuHalfOnly: boolean;
}

/** Libraries of the CUDA half, and the empty stub libraries that depend on them. */
const cudaHalf = /^lib\/(lib)?(torch_cuda|c10_cuda|caffe2_nvrtc|torch_nvshmem|torch_global_deps|torch\.)/;

/** Whether a file is what libtorch's CPU half is linked to in a CUDA build, for tracing and for pinned memory. */
function isCudaOfCpuHalf(path: string): boolean {
  const [folder, file] = path.split("/").slice(-2) as [string, string];
  const at = file.search(/cudart|cupti/);
  return (folder === "lib" || folder === "bin") && at >= 0 && /\.(so|dll)/.test(file.slice(at));
}

/**
 * The path of a wheel's or an official archive's file in a cache entry: `torch/…` (an archive's `libtorch/…` as well),
 * `nvidia/…` beside it, because CUDA libraries are found relative to `torch/lib`, and `licenses/…`. Files needed by
 * Python only are left out.
 *
 * @param path with forward slashes, relative to the archive.
 * @returns the path in the entry, or undefined for a file that is not wanted.
 */
export function placeOf(path: string, { cpuHalfOnly }: Selection): string | undefined {
  const slash = path.indexOf("/");
  const top = path.slice(0, Math.max(slash, 0));
  const rest = path.slice(slash + 1);
  if (top === "torch" || top === "libtorch") return isWantedOfTorch(rest, cpuHalfOnly) ? `torch/${rest}` : undefined;
  if (top === "nvidia") {
    if (/\.pyi?$/.test(rest)) return undefined;
    return !cpuHalfOnly || isCudaOfCpuHalf(path) ? path : undefined;
  }
  const distribution = /^(.+)\.dist-info$/i.exec(top)?.[1];
  const file = rest.replace(/^licenses\//i, "");
  return distribution !== undefined && isLicense(file) ? `licenses/${distribution}/${file}` : undefined;
}

function isLicense(file: string): boolean {
  const name = file.slice(file.lastIndexOf("/") + 1);
  return /^METADATA$/i.test(file) || /LICEN[CS]E|NOTICE|COPYING/i.test(name);
}

function isWantedOfTorch(path: string, cpuHalfOnly: boolean): boolean {
  if (path === "version.py" || path === "build-version" || path === "build-hash") return true;
  if (path.startsWith("include/") || path.startsWith("share/cmake/")) return true;
  if (!path.startsWith("lib/") || /^lib\/(lib)?torch_python\./.test(path)) return false;
  return !(cpuHalfOnly && cudaHalf.test(path));
}
