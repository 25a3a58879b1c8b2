import { existsSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { InstructPix2PixError, isError } from "../core/errors.js";
import { optionNames } from "../core/known-options.js";
import { type AddonFiles, findAddon, isClone } from "./addon.js";
import { type Libtorch, resolveLibtorch } from "./libtorch/find.js";
import {
  assertSupportedPlatform,
  cudaDriverLibrary,
  type Environment,
  isEnabled,
  sharedLibraryName,
} from "./platform.js";
import { assertVersion } from "./version.js";

/** The state of libtorch's CUDA half. The device `cuda` needs `loaded`. */
export interface CudaHalf {
  state: "loaded" | "absent" | "no-driver" | "failed";
  /** For `failed` and `no-driver`: the dynamic linker's message. */
  reason?: string;
  /** This package's CUDA library; undefined if the CUDA half was not loaded. */
  library?: CudaLibrary;
}

/** This package's CUDA library: without it devices work too, but report fewer properties. */
export interface CudaLibrary {
  state: "loaded" | "absent" | "failed";
  /** For `failed`: the dynamic linker's message. */
  reason?: string;
}

/** The loaded addon and its libtorch. */
export interface LoadedAddon<Addon> {
  exports: Addon;
  files: AddonFiles;
  libtorch: Libtorch;
  cuda: CudaHalf;
}

export interface LoadOptions {
  /** A libtorch folder that takes precedence over the environment and the cache. */
  libtorch?: string;
  /** Default `process.env`. */
  env?: Environment;
  /** The folder of this package; for tests. */
  root?: string;
}

/** The names of {@link LoadOptions}. */
export const LOAD_OPTIONS = optionNames<LoadOptions>()({ libtorch: true, env: true, root: false });

/** The module that opens libraries, see native/preload. */
interface Preload {
  dlopen(path: string): void;
  /** The paths of the process's open libraries of this file name. */
  opened(name: string): string[];
}

const require = createRequire(import.meta.url);
let loaded: LoadedAddon<unknown> | undefined;

/**
 * Loads libtorch and the addon, once per JavaScript environment (the main thread, each worker thread). Importing the
 * package loads nothing. Failures are not cached: after `ip2p install` the next call succeeds.
 *
 * @throws `ERR_LIBTORCH_NOT_FOUND` before anything else, `ERR_ADDON_NOT_FOUND`, `ERR_LIBTORCH_VERSION`,
 *   `ERR_LIBTORCH` if the dynamic linker refuses a library.
 */
export function loadAddon<Addon>(options: LoadOptions = {}): LoadedAddon<Addon> {
  if (loaded && options.libtorch !== undefined) {
    const wanted = resolveLibtorch(options).root;
    if (wanted !== loaded.libtorch.root)
      throw new InstructPix2PixError(
        "ERR_LIBTORCH",
        `libtorch is already loaded from ${loaded.libtorch.root}; a process cannot change to ${wanted}`,
      );
  }
  loaded ??= load(options);
  return loaded as LoadedAddon<Addon>;
}

function load(options: LoadOptions): LoadedAddon<unknown> {
  const env = options.env ?? process.env;
  assertSupportedPlatform();
  // The libtorch that the addon was built against is preferred, but a missing libtorch is reported before a missing
  // addon.
  const first = resolveLibtorch(options);
  const files = findAddon(options.root);
  const libtorch = files.build ? resolveLibtorch({ ...options, preferredVersion: files.build.libtorch }) : first;
  const checked = !isEnabled(env.LIBTORCH_BYPASS_VERSION_CHECK);
  if (checked) assertVersion(libtorch, files.build?.libtorch);

  const cuda = openLibtorch(files, libtorch);
  const exports = requireNative(files.addon, "the addon", libtorch);
  const compiledWith = (exports as { libtorchVersion?: unknown }).libtorchVersion;
  if (checked && typeof compiledWith === "string") assertVersion(libtorch, compiledWith);
  return { exports, files, libtorch, cuda };
}

/** Opens libtorch's libraries in the order of their dependencies. */
function openLibtorch(files: AddonFiles, libtorch: Libtorch): CudaHalf {
  const preload = requireNative(files.preload, "the preload module", libtorch) as Preload;
  assertNoOther(preload, libtorch);
  const open = (stem: string) => preload.dlopen(join(libtorch.root, "lib", sharedLibraryName(stem)));
  try {
    open("c10");
    open("torch_cpu");
  } catch (error) {
    throw new InstructPix2PixError(
      "ERR_LIBTORCH",
      `libtorch ${libtorch.version} at ${libtorch.root} cannot be loaded: ${messageOf(error)}`,
      { cause: error },
    );
  }
  const cuda: CudaHalf = libtorch.variant === "cuda" ? openCudaHalf(preload, open) : { state: "absent" };
  if (cuda.state === "loaded" || cuda.state === "absent") openUmbrella(libtorch, open);
  if (cuda.state === "loaded") cuda.library = openCudaLibrary(preload, files.cuda);
  return cuda;
}

/**
 * A process can use only one libtorch, since two would resolve each other's symbols. Another copy of this package, or
 * another package's addon, may have loaded one.
 */
function assertNoOther(preload: Preload, { root }: Libtorch): void {
  for (const name of ["c10", "torch_cpu"].map(sharedLibraryName)) {
    const own = realpathSync(join(root, "lib", name));
    const other = preload.opened(name).find((path) => existsSync(path) && realpathSync(path) !== own);
    if (other !== undefined)
      throw new InstructPix2PixError(
        "ERR_LIBTORCH",
        `this process has already opened ${other}, and cannot use the libtorch at ${root} beside it; set LIBTORCH to ${dirname(dirname(other))}, so that all use the same one`,
      );
  }
}

/**
 * Loads the stub library that only depends on the others. This package's addon does not need it, but one built with
 * libtorch's own CMake targets does; a failure is ignored here, since loading that addon then names the missing
 * library.
 */
function openUmbrella(libtorch: Libtorch, open: (stem: string) => void): void {
  if (!existsSync(join(libtorch.root, "lib", sharedLibraryName("torch")))) return;
  try {
    open("torch");
  } catch {}
}

/** Loading the CUDA half takes most of a second and 200 MB, so it is skipped without a driver. */
function openCudaHalf(preload: Preload, open: (stem: string) => void): CudaHalf {
  try {
    preload.dlopen(cudaDriverLibrary);
  } catch (error) {
    return { state: "no-driver", reason: messageOf(error) };
  }
  try {
    open("c10_cuda");
    open("torch_cuda");
    return { state: "loaded" };
  } catch (error) {
    return { state: "failed", reason: messageOf(error) };
  }
}

/** Loaded after its dependencies and before the addon, which looks up what it registers. */
function openCudaLibrary(preload: Preload, path: string | undefined): CudaLibrary {
  if (path === undefined) return { state: "absent" };
  try {
    preload.dlopen(path);
    return { state: "loaded" };
  } catch (error) {
    return { state: "failed", reason: messageOf(error) };
  }
}

function requireNative(path: string, what: string, libtorch: Libtorch): unknown {
  try {
    return require(path);
  } catch (error) {
    throw new InstructPix2PixError(
      "ERR_LIBTORCH",
      `${what} ${path} cannot be loaded with libtorch ${libtorch.version} at ${libtorch.root}: ${messageOf(error)}; run \`${isClone() ? "npm run build" : "npx ip2p build"}\` to build it again`,
      { cause: error },
    );
  }
}

function messageOf(error: unknown): string {
  return (isError(error) ? error.message : String(error)).split("\n")[0] as string;
}
