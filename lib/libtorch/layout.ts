/** Which parts of a libtorch are wanted. */
export interface Selection {
  /** Whether the CUDA half is left out. */
  cpuHalfOnly: boolean;
}

/** Libraries of the CUDA half, and the empty ones that name them: without it they could not be opened. */
const cudaHalf = /^lib\/(lib)?(torch_cuda|c10_cuda|caffe2_nvrtc|torch_nvshmem|torch_global_deps|torch\.)/;

/** What libtorch's CPU half is linked to in a CUDA build, for tracing and for pinned memory. */
function isCudaOfCpuHalf(path: string): boolean {
  const name = path.slice(path.lastIndexOf("/") + 1);
  // One after the other: a pattern for the whole would try all places of each part with those of all others.
  const library = name.search(/cudart|cupti/);
  return library >= 0 && /\.(so|dll)/.test(name.slice(library)) && /\/(lib|bin)\/$/.test(path.slice(0, -name.length));
}

/**
 * Where a file of a wheel or of an official archive belongs in a cache entry: `torch/…` (an archive's `libtorch/…` as
 * well), `nvidia/…` beside it, because CUDA libraries are found relative to `torch/lib`, and `licenses/…`. What only
 * Python needs is left out.
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
  const project = /^(.+)\.dist-info$/i.exec(top)?.[1];
  const file = rest.replace(/^licenses\//i, "");
  return project !== undefined && isLicense(file) ? `licenses/${project}/${file}` : undefined;
}

function isLicense(file: string): boolean {
  return /^METADATA$/i.test(file) || /LICEN[CS]E|NOTICE|COPYING/i.test(file.slice(file.lastIndexOf("/") + 1));
}

function isWantedOfTorch(path: string, cpuHalfOnly: boolean): boolean {
  if (path === "version.py" || path === "build-version" || path === "build-hash") return true;
  if (path.startsWith("include/") || path.startsWith("share/cmake/")) return true;
  if (!path.startsWith("lib/") || /^lib\/(lib)?torch_python\./.test(path)) return false;
  return !(cpuHalfOnly && cudaHalf.test(path));
}
