import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { runProgramSync } from "../child-process.js";
import { cacheFolder, type Environment, isEnabled, sharedLibraryName } from "../platform.js";
import { isSupportedVersion, LIBTORCH_VERSION, sameMinor } from "../version.js";

/** The rule of the resolution order that found a libtorch. */
export type LibtorchSource = "option" | "LIBTORCH" | "LIBTORCH_USE_PYTORCH" | "cache";

/** `cuda` if the folder holds libtorch's CUDA half, regardless of its wheel's name. */
export type LibtorchVariant = "cpu" | "cuda";

/** One unpacked libtorch. */
export interface Libtorch {
  /** Absolute path of the folder that holds `lib/` and `include/`. */
  root: string;
  /** Its version, e.g. `2.13.0+cpu`, or `2.13.0` without a local part. */
  version: string;
  variant: LibtorchVariant;
  source: LibtorchSource;
}

/** Options of {@link resolveLibtorch}. */
export interface ResolveOptions {
  /** A libtorch folder that takes precedence over everything else. */
  libtorch?: string;
  /** Default `process.env`. */
  env?: Environment;
  /** The version an addon was built against, preferred among several in the cache; default the release's own. */
  preferredVersion?: string;
}

/**
 * Finds libtorch. The first rule that applies decides, with the names that other bindings use: the `libtorch` option,
 * `LIBTORCH` (a folder with `lib/`), `LIBTORCH_USE_PYTORCH=1` (the torch of the Python on the path or of the active
 * virtual environment), the user cache that `ip2p install` fills. A rule that applies but finds nothing is an error,
 * not skipped, so that no other libtorch than the requested one is used silently.
 *
 * @throws `ERR_LIBTORCH_NOT_FOUND`
 */
export function resolveLibtorch(options: ResolveOptions = {}): Libtorch {
  const env = options.env ?? process.env;
  if (options.libtorch !== undefined)
    return inspectLibtorch(options.libtorch, "option", "the libtorch option is set to");
  if (env.LIBTORCH) return inspectLibtorch(env.LIBTORCH, "LIBTORCH", "LIBTORCH is set to");
  if (isEnabled(env.LIBTORCH_USE_PYTORCH))
    return inspectLibtorch(findPythonTorch(env), "LIBTORCH_USE_PYTORCH", "LIBTORCH_USE_PYTORCH led to");

  const cache = libtorchCacheFolder(env);
  const entry = bestCacheEntry(cache, options.preferredVersion ?? LIBTORCH_VERSION);
  if (entry) return inspectLibtorch(cacheEntryRoot(join(cache, entry)), "cache", "the cache holds");
  throw new InstructPix2PixError(
    "ERR_LIBTORCH_NOT_FOUND",
    [
      "libtorch was not found; run `npx ip2p install` to fetch it into the cache",
      "  tried: the libtorch option: not given",
      "         LIBTORCH: not set (a folder with lib/ and include/ of an unpacked libtorch)",
      "         LIBTORCH_USE_PYTORCH: not set (1 uses the torch of an installed Python)",
      `         ${cache}: ${existsSync(cache) ? "holds no libtorch" : "does not exist"}`,
    ].join("\n"),
  );
}

/** The folder of `ip2p install`'s libtorchs, with a subfolder `<version>-<variant>` for each. */
export function libtorchCacheFolder(env: Environment = process.env): string {
  return join(cacheFolder(env), "libtorch");
}

/** The libtorch of one cache entry: always its `torch` folder, since CUDA wheels need `nvidia` beside that. */
export function cacheEntryRoot(entry: string): string {
  return join(entry, "torch");
}

/**
 * Determines the version and variant of a libtorch folder.
 *
 * @param context the beginning of the error's sentence, before the folder.
 * @throws `ERR_LIBTORCH_NOT_FOUND` if it holds no libtorch, `ERR_LIBTORCH` if its version cannot be determined.
 */
export function inspectLibtorch(folder: string, source: LibtorchSource, context = "no libtorch at"): Libtorch {
  const root = resolve(folder);
  const library = join(root, "lib", sharedLibraryName("torch_cpu"));
  if (!isFile(library)) {
    const why = existsSync(root) ? `which has no lib/${sharedLibraryName("torch_cpu")}` : "which does not exist";
    throw new InstructPix2PixError(
      "ERR_LIBTORCH_NOT_FOUND",
      `${context} ${root}, ${why}; correct it, or leave it out to use the libtorch that \`npx ip2p install\` fetches`,
    );
  }
  const version = readVersion(root);
  if (version === undefined)
    throw new InstructPix2PixError(
      "ERR_LIBTORCH",
      `the version of libtorch at ${root} cannot be determined: it has none of build-version, version.py, include/torch/headeronly/version.h`,
    );
  const variant = existsSync(join(root, "lib", sharedLibraryName("torch_cuda"))) ? "cuda" : "cpu";
  return { root, version, variant, source };
}

/** The version of the tree at `root`: official archives carry `build-version`, wheels `version.py`, both the header. */
function readVersion(root: string): string | undefined {
  const text = (...path: string[]) => {
    const file = join(root, ...path);
    return isFile(file) ? readFileSync(file, "utf8") : "";
  };
  const buildVersion = text("build-version").trim();
  if (buildVersion) return buildVersion;
  const python = /^__version__\s*=\s*['"]([^'"]+)['"]/m.exec(text("version.py"));
  if (python) return python[1];
  for (const header of ["headeronly", "csrc/api/include/torch", "."]) {
    const found = text("include", "torch", header, "version.h");
    const [major, minor, patch] = ["MAJOR", "MINOR", "PATCH"].map(
      (part) => new RegExp(`^#define TORCH_VERSION_${part}\\s+(\\d+)`, "m").exec(found)?.[1],
    );
    if (major && minor && patch) return `${major}.${minor}.${patch}`;
  }
  return undefined;
}

/**
 * The name of the cache entry to use: the wanted version first, then the same minor, then the newest supported; of one
 * version the CUDA variant, which computes on the CPU as well.
 */
function bestCacheEntry(cache: string, wanted: string): string | undefined {
  const rank = (version: string) => (version === wanted ? 0 : sameMinor(version, wanted) ? 1 : 2);
  return (existsSync(cache) ? readdirSync(cache) : [])
    .flatMap((name) => {
      const [, version, variant] = /^(\d+\.\d+\.\d+[^-]*)-(cpu|cuda)$/.exec(name) ?? [];
      const whole = isFile(join(cacheEntryRoot(join(cache, name)), "lib", sharedLibraryName("torch_cpu")));
      return version && variant && whole && isSupportedVersion(version) ? [{ name, version, variant }] : [];
    })
    .sort(
      (a, b) =>
        rank(a.version) - rank(b.version) ||
        b.version.localeCompare(a.version, "en", { numeric: true }) ||
        (a.variant === b.variant ? 0 : a.variant === "cuda" ? -1 : 1),
    )[0]?.name;
}

/** The folder of the torch package of the user's Python, found without importing it (that takes seconds). */
function findPythonTorch(env: Environment): string {
  const windows = process.platform === "win32";
  const python = env.VIRTUAL_ENV
    ? join(env.VIRTUAL_ENV, windows ? "Scripts" : "bin", windows ? "python.exe" : "python3")
    : windows
      ? "python"
      : "python3";
  const program =
    "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')";
  const { stdout, stderr, error, status } = runProgramSync(python, ["-c", program], { env, timeout: 60_000 });
  const folder = stdout.trim();
  if (status === 0 && folder) return folder;
  const why = error?.message ?? (status === 0 ? "it has no torch" : (stderr.trim().split("\n").at(-1) ?? ""));
  throw new InstructPix2PixError(
    "ERR_LIBTORCH_NOT_FOUND",
    `LIBTORCH_USE_PYTORCH is set, but ${python} did not name its torch: ${why}`,
    { cause: error },
  );
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
