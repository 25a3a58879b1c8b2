import { constants } from "node:fs";
import { copyFile, mkdir, readdir, rename, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { trimSlashes } from "../../core/trim.js";
import { assertDiskSpace } from "../../files/disk.js";
import { isFile } from "../../files/is-file.js";
import { type Environment, sharedLibraryName } from "../platform.js";
import { download, sha256Of, wrongContent } from "./download.js";
import type { LibtorchVariant } from "./find.js";
import { findPip, pipDownload } from "./pip.js";
import { type InstallListener, SourceUnavailable } from "./progress.js";
import {
  type LibtorchRecipe,
  type LibtorchRelease,
  largestSize,
  type PinnedWheel,
  pinnedWheel,
  recipesOf,
} from "./releases.js";

/** The origin of an installed libtorch, as recorded in its manifest. */
export interface SourceRecord {
  kind: "https" | "pip" | "file" | "folder";
  /** The address, the pip command, or the path. */
  location: string;
}

/** The input to unpack. */
export type Material = {
  source: SourceRecord;
  cpuHalfOnly: boolean;
} & (
  | {
      /** Wheels or official archives; of a copy, `given` is the original. */
      archives: { path: string; sha256: string; given?: string }[];
    }
  | {
      /** An unpacked libtorch: the folder that holds `lib/` and `include/`. */
      tree: string;
    }
);

export interface ObtainOptions {
  /** The pinned release. */
  release: LibtorchRelease;
  /** Downloads are kept here until the installation has succeeded. */
  downloads: string;
  /** A temporary folder on the same disk. */
  scratch: string;
  /** Replaces the official index, and then nothing else is tried. */
  mirror?: string;
  env: Environment;
  signal?: AbortSignal;
  onEvent: InstallListener;
}

/**
 * Fetches the wheels of a variant: over HTTPS from the official index, with the user's pip, or as a last resort the CPU
 * half of the CUDA wheel with pip.
 *
 * @throws `ERR_DOWNLOAD` listing why each source failed, or at once if a file is not the pinned one.
 */
export async function obtain(variant: LibtorchVariant, options: ObtainOptions): Promise<Material> {
  const { onEvent } = options;
  const failures: string[] = [];
  const attempt = async (describe: string, get: () => Promise<Material>): Promise<Material | undefined> => {
    onEvent({ type: "message", text: describe });
    try {
      return await get();
    } catch (error) {
      if (!(error instanceof SourceUnavailable)) throw error;
      failures.push(error.message);
      onEvent({ type: "message", text: `not available there: ${error.message}` });
      return undefined;
    }
  };
  for (const recipe of recipesOf(options.release, variant)) {
    const [first] = recipe.wheels as [PinnedWheel, ...PinnedWheel[]];
    const index = trimSlashes(options.mirror ?? options.release.index);
    if (recipe.indexFolder !== undefined || options.mirror !== undefined) {
      const got = await attempt(`fetching ${first.file} from ${index}`, () => overHttps(recipe, index, options));
      if (got) return got;
    }
    if (options.mirror !== undefined) continue;
    const half = recipe.cpuHalfOnly ? ", the CUDA wheel, to unpack its CPU half only" : "";
    const got = await attempt(`fetching ${first.requirement} by pip${half}`, () => byPip(recipe, options));
    if (got) return got;
  }
  throw new InstructPix2PixError(
    "ERR_DOWNLOAD",
    [
      `libtorch (${variant}) could not be fetched; check the network, configure pip, or give a file by --from`,
      ...failures.map((line, i) => `  ${i === 0 ? "tried:" : "      "} ${line}`),
    ].join("\n"),
  );
}

async function overHttps(recipe: LibtorchRecipe, index: string, options: ObtainOptions): Promise<Material> {
  await assertDiskSpace(options.downloads, downloadSize(recipe) + recipe.unpackedSize);
  const paths: string[] = [];
  let location = index;
  for (const wheel of recipe.wheels) {
    const target = join(options.downloads, wheel.file);
    const file = encodeURIComponent(wheel.file);
    const addresses = recipe.indexFolder === undefined ? [] : [`${index}/${recipe.indexFolder}/${file}`];
    // A mirror may be a copy of the index, or a flat folder of the files.
    if (options.mirror !== undefined) addresses.push(`${index}/${file}`);
    const url = await fetchWheel(wheel, target, addresses, options);
    if (paths.length === 0) location = url;
    paths.push(target);
  }
  return material(recipe, { kind: "https", location }, paths);
}

/** Downloads a wheel from the first address that has it, unless it is there already, and returns that address. */
async function fetchWheel(
  wheel: PinnedWheel,
  target: string,
  addresses: readonly string[],
  options: ObtainOptions,
): Promise<string> {
  let failure: unknown;
  for (const url of addresses) {
    try {
      if (!(await isIntact(target, wheel, options.signal)))
        await download(url, {
          target,
          sha256: wheel.sha256,
          maxBytes: largestSize(wheel),
          env: options.env,
          signal: options.signal,
          onProgress: (done, total) =>
            options.onEvent({ type: "progress", phase: "download", file: wheel.file, done, total }),
        });
      return url;
    } catch (error) {
      if (!(error instanceof SourceUnavailable)) throw error;
      failure ??= error;
    }
  }
  throw failure;
}

function downloadSize(recipe: LibtorchRecipe): number {
  return recipe.wheels.reduce((sum, wheel) => sum + wheel.size, 0);
}

async function byPip(recipe: LibtorchRecipe, options: ObtainOptions): Promise<Material> {
  const pip = findPip(options.env);
  if (!pip) throw new SourceUnavailable("pip: no Python with pip was found");
  const folder = join(options.scratch, "pip");
  await mkdir(folder, { recursive: true });
  const largest = Math.max(...recipe.wheels.map((wheel) => wheel.size));
  // pip holds a file twice for a moment.
  await assertDiskSpace(folder, downloadSize(recipe) + largest + recipe.unpackedSize);
  const paths: string[] = [];
  for (const wheel of recipe.wheels) {
    const kept = join(options.downloads, wheel.file);
    if (!(await isIntact(kept, wheel, options.signal))) {
      const path = await pipDownload(pip, wheel, folder, {
        env: options.env,
        signal: options.signal,
        onLine: (line) =>
          /^(Downloading|Processing|Using cached) /.test(line) &&
          options.onEvent({ type: "message", text: `pip: ${line}` }),
      });
      const found = await sha256Of(path, options.signal);
      if (found !== wheel.sha256) throw wrongContent(`${basename(path)}, from ${pip.join(" ")},`, wheel.sha256, found);
      await mkdir(options.downloads, { recursive: true });
      await rename(path, kept);
    }
    paths.push(kept);
  }
  return material(recipe, { kind: "pip", location: pip.join(" ") }, paths);
}

async function isIntact(path: string, wheel: PinnedWheel, signal: AbortSignal | undefined): Promise<boolean> {
  return (await isFile(path)) && (await sha256Of(path, signal)) === wheel.sha256;
}

function material(recipe: LibtorchRecipe, source: SourceRecord, paths: string[]): Material {
  const archives = recipe.wheels.map((wheel, i) => ({ path: paths[i] as string, sha256: wheel.sha256 }));
  return { source, cpuHalfOnly: recipe.cpuHalfOnly, archives };
}

/**
 * Resolves the `from` option: a wheel, an official archive, an unpacked libtorch (or the folder around it), or a folder
 * with the pinned wheels. Beside a pinned CUDA wheel, the other wheels of its recipe are used too.
 *
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_LIBTORCH` if it is none of these, `ERR_DOWNLOAD` if a pinned file is damaged.
 */
export async function obtainFrom(
  from: string,
  variant: LibtorchVariant | undefined,
  options: Pick<ObtainOptions, "release" | "signal" | "scratch">,
): Promise<Material> {
  const found = await stat(from).catch(() => undefined);
  if (!found) throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `--from ${from}: no such file or folder`);
  if (found.isDirectory()) {
    for (const tree of [from, join(from, "torch"), join(from, "libtorch")])
      if (await isFile(join(tree, "lib", sharedLibraryName("torch_cpu"))))
        return { source: { kind: "folder", location: from }, cpuHalfOnly: variant === "cpu", tree };
    const together = await recipeIn(options.release, from, variant);
    if (together) return fromWheels(together, from, from, options);
    throw new InstructPix2PixError(
      "ERR_LIBTORCH",
      `--from ${from}: the folder holds neither lib/${sharedLibraryName("torch_cpu")} nor the wheels of libtorch`,
    );
  }
  if (!found.isFile()) throw new InstructPix2PixError("ERR_LIBTORCH", `--from ${from}: is neither a file nor a folder`);
  if (pinnedWheel(options.release, basename(from))) {
    const together = await recipeIn(options.release, dirname(from), variant, basename(from));
    if (together) return fromWheels(together, dirname(from), from, options);
  }
  const archive = await ownCopy(from, options);
  const expected = pinnedWheel(options.release, basename(from))?.sha256;
  if (expected !== undefined && expected !== archive.sha256) throw wrongContent(from, expected, archive.sha256);
  return { source: { kind: "file", location: from }, cpuHalfOnly: variant === "cpu", archives: [archive] };
}

/** The recipe whose wheels all lie in a folder; of several, one for CUDA only if it is asked for or nothing else fits. */
async function recipeIn(
  release: LibtorchRelease,
  folder: string,
  variant: LibtorchVariant | undefined,
  including?: string,
): Promise<LibtorchRecipe | undefined> {
  const present = new Set(await readdir(folder));
  for (const candidate of variant ? [variant] : (["cuda", "cpu"] as const))
    for (const recipe of release.recipes.filter((each) => each.variant === candidate)) {
      const complete = recipe.wheels.every((wheel) => present.has(wheel.file));
      if (complete && (including === undefined || recipe.wheels.some((wheel) => wheel.file === including)))
        return recipe;
    }
  return undefined;
}

async function fromWheels(
  recipe: LibtorchRecipe,
  folder: string,
  location: string,
  options: Pick<ObtainOptions, "signal" | "scratch">,
): Promise<Material> {
  const archives: Awaited<ReturnType<typeof ownCopy>>[] = [];
  for (const wheel of recipe.wheels) {
    const archive = await ownCopy(join(folder, wheel.file), options);
    if (archive.sha256 !== wheel.sha256) throw wrongContent(archive.given, wheel.sha256, archive.sha256);
    archives.push(archive);
  }
  const kind = location === folder ? "folder" : "file";
  return { source: { kind, location }, cpuHalfOnly: recipe.cpuHalfOnly, archives };
}

/**
 * A private copy of a file, so that the hashed content is what is unpacked. It shares its blocks with the original
 * where the file system supports it.
 *
 * @throws `ERR_IO`
 */
async function ownCopy(
  from: string,
  { scratch, signal }: Pick<ObtainOptions, "signal" | "scratch">,
): Promise<{ path: string; sha256: string; given: string }> {
  const folder = join(scratch, "given");
  await assertDiskSpace(folder, (await stat(from)).size);
  const path = join(folder, basename(from));
  try {
    await copyFile(from, path, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  } catch (error) {
    throw new InstructPix2PixError("ERR_IO", `${from} cannot be copied to ${folder}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return { path, sha256: await sha256Of(path, signal), given: from };
}
