import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, sep } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { packageRoot, platformAbi, sharedLibraryName } from "./platform.js";

/** The addon's `build.json`. */
export interface BuildInfo {
  /** The version of libtorch whose headers it was compiled with, e.g. `2.13.0`. */
  libtorch: string;
  /** The variant of that libtorch. The addon itself runs with either; the CUDA library is built with `cuda` only. */
  variant: "cpu" | "cuda";
  /** The commit it was built from, if it was built in a clone. */
  commit: string | null;
  /** The version of this package that it was built for. */
  version?: string;
}

/** The files of one build of the addon. */
export interface AddonFiles {
  addon: string;
  preload: string;
  /** The CUDA library, see native/cuda; absent if built without CUDA's headers. */
  cuda?: string;
  /** Absent if the build wrote no `build.json`. */
  build?: BuildInfo;
  /** Whether it was built on this machine or came with a platform package. */
  origin: "build" | "package";
}

/** A searched path, with the outcome. */
export interface AddonAttempt {
  path: string;
  outcome: string;
}

/** The output folder of a local build. */
export function localBuildFolder(root: string = packageRoot): string {
  return join(root, "build", "Release");
}

/** Whether this package is a clone of the repository rather than an installed copy. */
export function isClone(root: string = packageRoot): boolean {
  return existsSync(join(root, "scripts", "setup.mjs"));
}

/**
 * Finds the addon: a build in the package's own folder, then the platform package that npm chose.
 *
 * @throws `ERR_ADDON_NOT_FOUND` with every searched path and possible fixes.
 */
export function findAddon(root: string = packageRoot): AddonFiles {
  const attempts: AddonAttempt[] = [];
  const found = fromLocalBuild(root, attempts) ?? fromPlatformPackage(root, attempts);
  if (found) return found;
  throw new InstructPix2PixError("ERR_ADDON_NOT_FOUND", describeMissing(root, attempts));
}

/** The build in the package's own folder, if it is there. */
export function fromLocalBuild(root: string, attempts: AddonAttempt[]): AddonFiles | undefined {
  return fromFolder(localBuildFolder(root), "", "build", attempts);
}

function fromPlatformPackage(root: string, attempts: AddonAttempt[]): AddonFiles | undefined {
  const name = platformPackage();
  const manifest = resolveFrom(root, `${name}/package.json`);
  if (manifest === undefined) {
    attempts.push({ path: name, outcome: "is not installed" });
    return undefined;
  }
  const folder = dirname(manifest);
  const found = fromFolder(folder, `.${platformAbi()}`, "package", attempts);
  const wanted = manifestVersion(root);
  const versions = [manifestVersion(folder), found?.build?.version].filter((version) => version !== undefined);
  const other = versions.find((version) => version !== wanted);
  if (found && other !== undefined) {
    // The interface between TypeScript and addon is private, and changes with every release.
    attempts.push({ path: folder, outcome: `is version ${other}, but instruct-pix2pix is ${wanted ?? "of none"}` });
    return undefined;
  }
  return found;
}

/** The path of another package's file as resolved by Node.js; undefined if not found. */
export function resolveFrom(root: string, specifier: string): string | undefined {
  try {
    return createRequire(join(root, "package.json")).resolve(specifier);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

/** The version in a package's `package.json`. */
export function manifestVersion(folder: string): string | undefined {
  return (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version?: string }).version;
}

function fromFolder(
  folder: string,
  infix: string,
  origin: AddonFiles["origin"],
  attempts: AddonAttempt[],
): AddonFiles | undefined {
  const addon = join(folder, `ip2p${infix}.node`);
  const preload = join(folder, `ip2p_preload${infix}.node`);
  for (const path of [addon, preload])
    if (!existsSync(path)) {
      attempts.push({ path, outcome: "does not exist" });
      return undefined;
    }
  const cuda = join(folder, sharedLibraryName(`ip2p_cuda${infix}`));
  const build = readBuildInfo(join(folder, "build.json"));
  return { addon, preload, ...(existsSync(cuda) && { cuda }), build, origin };
}

function readBuildInfo(path: string): BuildInfo | undefined {
  if (!existsSync(path)) return undefined;
  const parsed: Partial<BuildInfo> = JSON.parse(readFileSync(path, "utf8"));
  if (typeof parsed.libtorch !== "string") return undefined;
  const { libtorch, variant = "cpu", commit = null, version } = parsed;
  return { libtorch, variant, commit, ...(version !== undefined && { version }) };
}

/** The package that carries the prebuilt addon for this platform. */
export function platformPackage(): string {
  return `@instruct-pix2pix/native-${platformAbi()}`;
}

function describeMissing(root: string, attempts: AddonAttempt[]): string {
  const clone = isClone(root);
  const lines = [
    clone
      ? "the native addon has not been built; run `npm run setup`"
      : `no native addon is installed for ${platformAbi()}; run \`npx ip2p build\` to build it here (needs CMake and a C++20 compiler)`,
    ...attempts.map(({ path, outcome }, i) => `  ${i === 0 ? "tried:" : "      "} ${path}: ${outcome}`),
  ];
  if (!clone)
    lines.push(
      `  ${platformPackage()} is an optional dependency that package managers leave out`,
      "    - when told to, by `--omit=optional` or `--no-optional`: run `npm install --include=optional`",
      "    - when the lockfile or node_modules was made on another platform: delete both and run `npm install` here, or once",
      `      \`npm install --os=${process.platform} --cpu=${process.arch}\`; with pnpm and yarn, add this platform to supportedArchitectures`,
      "    - when only the other package was updated, or a version was overridden: both must be of the same version",
    );
  if (root.includes(`.asar${sep}`) || root.endsWith(".asar"))
    lines.push(
      "    - inside an asar archive: unpack this package (asarUnpack), for native code cannot be loaded from one",
    );
  return lines.join("\n");
}
