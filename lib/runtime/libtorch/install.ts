import { mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { checkOptions, optionNames } from "../../core/known-options.js";
import { withLock } from "../../files/lock.js";
import { assertSupportedPlatform, cacheFolder, type Environment, isEnabled, platformAbi } from "../platform.js";
import { assertVersion, LIBTORCH_VERSION } from "../version.js";
import { detectCudaDriver } from "./cuda-driver.js";
import { cacheEntryRoot, inspectLibtorch, type Libtorch, type LibtorchVariant, libtorchCacheFolder } from "./find.js";
import { probeLibtorch } from "./probe.js";
import type { InstallEvent } from "./progress.js";
import { type LibtorchRelease, releaseFor } from "./releases.js";
import { type Material, obtain, obtainFrom, type SourceRecord } from "./sources.js";
import { copyTree, unpackArchive } from "./unpack.js";

/** Options of {@link installLibtorch}. */
export interface InstallOptions {
  /**
   * `cuda` or `cpu`; `auto`, the default, is `cuda` if a recent enough driver is installed, and with `from` the variant
   * that it holds.
   */
  variant?: "auto" | LibtorchVariant;
  /** A wheel, an official libtorch archive, an unpacked libtorch, or a folder with the wheels; nothing is downloaded. */
  from?: string;
  /** Base URL of a mirror of the official index; no other source is tried then. */
  mirror?: string;
  /** Whether to replace an existing cache entry. */
  force?: boolean;
  signal?: AbortSignal;
  /** Called for every step and for progress in bytes. */
  onEvent?: (event: InstallEvent) => void;
  /** Default `process.env`. */
  env?: Environment;
  /** The pinned release; for tests. */
  release?: LibtorchRelease;
  /** Checks that an unpacked libtorch loads on this machine; resolves to the reason if not. For tests. */
  probe?: (libtorch: Libtorch) => Promise<string | undefined>;
}

const OPTIONS = optionNames<InstallOptions>()({
  variant: true,
  from: true,
  mirror: true,
  force: true,
  signal: true,
  onEvent: true,
  env: true,
  release: false,
  probe: false,
});

/** An installation of libtorch. */
export interface InstalledLibtorch extends Libtorch {
  /** Whether it was in the cache already, so that nothing was done. */
  alreadyThere: boolean;
}

/** Content of a cache entry's `manifest.json`. */
export interface LibtorchManifest {
  version: string;
  variant: LibtorchVariant;
  source: SourceRecord;
  /** Whether it is the CPU half of a CUDA build. */
  cpuHalfOnly: boolean;
  /** The archives it was unpacked from. */
  archives: { file: string; sha256: string }[];
  /** ISO 8601. */
  installed: string;
}

/**
 * Installs libtorch into the user's cache, where {@link resolveLibtorch} finds it. The installation is atomic: it is
 * unpacked in a temporary folder, test-loaded, and only then renamed. Interrupted downloads are resumed by the next
 * call, and concurrent installations wait for each other.
 *
 * @throws `ERR_DOWNLOAD`, `ERR_LIBTORCH`, `ERR_LIBTORCH_VERSION`, `ERR_FILE_NOT_FOUND`, `ERR_IO`, `ERR_ABORTED`,
 *   `ERR_INVALID_ARGUMENT`.
 */
export async function installLibtorch(options: InstallOptions = {}): Promise<InstalledLibtorch> {
  checkOptions(options, OPTIONS);
  const env = options.env ?? process.env;
  const onEvent = options.onEvent ?? (() => {});
  checkChoices(options);
  assertSupportedPlatform();
  throwIfAborted(options.signal);

  const release = options.release ?? releaseFor(platformAbi());
  const variant = options.variant === "auto" || options.variant === undefined ? undefined : options.variant;
  const wanted = options.from === undefined ? (variant ?? autoVariant(release, onEvent)) : variant;
  const cache = libtorchCacheFolder(env);
  if (options.from === undefined && !options.force) {
    const there = await existing(cache, entryName(LIBTORCH_VERSION, wanted as LibtorchVariant));
    if (there) return there;
  }
  const lockOptions = {
    signal: options.signal,
    onWait: (holder: string) => onEvent({ type: "message", text: `waiting for another installation (${holder})` }),
  };
  return withLock(join(cache, ".lock"), lockOptions, async () => {
    if (options.from === undefined && !options.force) {
      const there = await existing(cache, entryName(LIBTORCH_VERSION, wanted as LibtorchVariant));
      if (there) return there;
    }
    await removeLeftovers(cache);
    const staging = await mkdtemp(join(cache, STAGING_PREFIX));
    try {
      const downloads = join(cacheFolder(env), "downloads");
      const material =
        options.from !== undefined
          ? await obtainFrom(resolve(options.from), wanted, { ...options, release, scratch: staging })
          : await obtain(wanted as LibtorchVariant, { ...options, release, env, onEvent, downloads, scratch: staging });
      const unpacked = join(staging, "entry");
      await unpack(material, unpacked, options);
      const installed = await admit(material, unpacked, cache, options, env);
      if (options.from === undefined) await removeDownloads(material);
      return installed;
    } finally {
      await rm(staging, { recursive: true, force: true });
    }
  });
}

const STAGING_PREFIX = ".staging-";

function entryName(version: string, variant: LibtorchVariant): string {
  return `${version.replace(/\+.*$/, "")}-${variant}`;
}

function checkChoices({ variant, from, mirror }: InstallOptions): void {
  if (variant !== undefined && !["auto", "cpu", "cuda"].includes(variant))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `variant must be auto, cpu or cuda, not ${variant}`);
  if (from !== undefined && mirror !== undefined)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "from and mirror exclude one another");
  if (mirror !== undefined && !/^https?:\/\/[^/]/.test(mirror))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `mirror must be an http(s) address, not ${mirror}`);
}

function autoVariant(release: LibtorchRelease, onEvent: (event: InstallEvent) => void): LibtorchVariant {
  // Where none is pinned for CUDA, asking for it by name says so.
  if (!release.recipes.some((recipe) => recipe.variant === "cuda")) return "cpu";
  const driver = detectCudaDriver();
  if (driver.usable) return "cuda";
  if (driver.version !== undefined) onEvent({ type: "message", text: `choosing the CPU variant: ${driver.reason}` });
  return "cpu";
}

async function existing(cache: string, name: string): Promise<InstalledLibtorch | undefined> {
  const entry = join(cache, name);
  if (!(await stat(join(entry, "manifest.json")).catch(() => undefined))) return undefined;
  try {
    return { ...inspectLibtorch(cacheEntryRoot(entry), "cache"), alreadyThere: true };
  } catch (error) {
    // Incomplete, for example partly deleted; it is reinstalled.
    if (isInstructPix2PixError(error, "ERR_LIBTORCH_NOT_FOUND")) return undefined;
    throw error;
  }
}

/** Called by the lock holder only, so every staging folder belongs to a dead process. */
async function removeLeftovers(cache: string): Promise<void> {
  for (const name of await readdir(cache))
    if (name.startsWith(STAGING_PREFIX)) await rm(join(cache, name), { recursive: true, force: true });
}

async function unpack(material: Material, folder: string, options: InstallOptions): Promise<void> {
  const onEvent = options.onEvent ?? (() => {});
  const sources = "tree" in material ? [{ path: material.tree, given: undefined }] : material.archives;
  onEvent({ type: "message", text: `unpacking ${sources.map(({ path }) => basename(path)).join(", ")}` });
  await mkdir(folder, { recursive: true });
  for (const { path, given } of sources) {
    const unpackOptions = {
      cpuHalfOnly: material.cpuHalfOnly,
      signal: options.signal,
      onProgress: (done: number, total: number) =>
        onEvent({ type: "progress", phase: "unpack", file: basename(path), done, total }),
    };
    if ("tree" in material) await copyTree(path, folder, unpackOptions);
    else await unpackArchive(path, folder, { ...unpackOptions, ...(given !== undefined && { name: given }) });
  }
}

/** Checks the unpacked libtorch and moves it to its final place. */
async function admit(
  material: Material,
  unpacked: string,
  cache: string,
  options: InstallOptions,
  env: Environment,
): Promise<InstalledLibtorch> {
  const { location } = material.source;
  const found = inspectLibtorch(cacheEntryRoot(unpacked), "cache", `${location} was unpacked to`);
  if (!isEnabled(env.LIBTORCH_BYPASS_VERSION_CHECK)) assertVersion({ version: found.version, root: location });
  if (options.variant === "cuda" && found.variant !== "cuda")
    throw new InstructPix2PixError("ERR_LIBTORCH", `${location} holds no CUDA half of libtorch`);
  const reason = await (options.probe ?? ((libtorch) => probeLibtorch(libtorch, libtorch.variant)))(found);
  if (reason !== undefined)
    throw new InstructPix2PixError(
      "ERR_LIBTORCH",
      `libtorch ${found.version} from ${location} does not open on this machine: ${reason}`,
    );
  throwIfAborted(options.signal);

  const manifest: LibtorchManifest = {
    version: found.version,
    variant: found.variant,
    source: material.source,
    cpuHalfOnly: material.cpuHalfOnly,
    archives: "tree" in material ? [] : material.archives.map(({ path, sha256 }) => ({ file: basename(path), sha256 })),
    installed: new Date().toISOString(),
  };
  await writeFile(join(unpacked, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);

  const name = entryName(found.version, found.variant);
  const target = join(cache, name);
  if (!options.force) {
    const there = await existing(cache, name);
    if (there) return there;
  }
  // A folder cannot replace another in one step; the old one is renamed into the staging folder and removed with it.
  await rename(target, `${unpacked}-replaced`).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  await rename(unpacked, target);
  return { ...inspectLibtorch(cacheEntryRoot(target), "cache"), alreadyThere: false };
}

async function removeDownloads(material: Material): Promise<void> {
  if (!("archives" in material)) return;
  for (const { path } of material.archives) await rm(path, { force: true });
}
