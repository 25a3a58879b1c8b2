import { createHash } from "node:crypto";
import { createWriteStream, existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { totalmem } from "node:os";
import { dirname, join } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { withLock } from "../files/lock.js";
import {
  type AddonFiles,
  type BuildInfo,
  fromLocalBuild,
  isClone,
  localBuildFolder,
  manifestVersion,
  resolveFrom,
} from "./addon.js";
import { type BuildTools, findBuildTools } from "./build-tools.js";
import { Lines, runProgram, runProgramSync } from "./child-process.js";
import { usableCores } from "./host.js";
import { type Libtorch, resolveLibtorch } from "./libtorch/find.js";
import { type Environment, packageRoot } from "./platform.js";
import { assertVersion, sameMinor } from "./version.js";

export interface BuildOptions {
  /** The libtorch to build against; default is the one that is loaded at run time. */
  libtorch?: string;
  /**
   * `cmake` runs CMake directly, `cmake-js` through that package, which Windows needs (it downloads the import
   * library); `auto`, the default, is `cmake-js` on Windows and where it is installed, else `cmake`.
   */
  tool?: "auto" | "cmake-js" | "cmake";
  /** A CMake toolchain file, to build for another platform than this one's; CMake is then run directly. */
  toolchain?: string;
  /** Whether to delete the build folder first. */
  clean?: boolean;
  /** Whether to build even if nothing has changed. */
  force?: boolean;
  /** Parallel compilers; default as many as cores and memory (2 GB each) allow. */
  parallel?: number;
  signal?: AbortSignal;
  /** Called for each line of output. */
  onLine?: (line: string) => void;
  /** Called when the build starts or waits. */
  onBegin?: (text: string) => void;
  env?: Environment;
  /** The folder of this package; for tests. */
  root?: string;
}

export interface BuildResult {
  /** False if the addon was up to date. */
  built: boolean;
  files: AddonFiles;
  libtorch: Libtorch;
}

/**
 * Builds the addon in this package's folder, with the CUDA library if libtorch has CUDA and its headers are found. Does
 * nothing if neither the sources nor the minor version of libtorch (within which its ABI is stable) have changed since
 * the last build.
 *
 * @throws `ERR_LIBTORCH_NOT_FOUND`, `ERR_LIBTORCH_VERSION`, `ERR_BUILD_TOOLS` if a tool is missing or the build fails
 *   (with the first error, and where the log is), `ERR_ABORTED`.
 */
export async function buildAddon(options: BuildOptions = {}): Promise<BuildResult> {
  const root = options.root ?? packageRoot;
  const { parallel } = options;
  if (parallel !== undefined && !(Number.isSafeInteger(parallel) && parallel >= 1))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `parallel must be a whole number from 1, not ${parallel}`);
  const libtorch = resolveLibtorch(options);
  assertVersion(libtorch);
  const folder = join(root, "build");
  const upToDate = () => (options.clean || options.force ? undefined : currentBuild(root, libtorch));

  const current = upToDate();
  if (current) return { built: false, files: current, libtorch };
  const onWait = (holder: string) => options.onBegin?.(`waiting for another build (${holder})`);
  return withLock(join(folder, LOCK), { signal: options.signal, onWait }, async () => {
    const meanwhile = upToDate();
    if (meanwhile) return { built: false, files: meanwhile, libtorch };
    const tools = findBuildTools(options.env);
    options.onBegin?.(`building the addon against libtorch ${libtorch.version} at ${libtorch.root}`);
    await prepareFolder(folder, root, tools, options.clean ?? false);
    const stamp = stampOf(root);
    for (const command of commandsFor(root, folder, libtorch, tools, options)) await run(command, folder, options);
    await writeFile(
      join(localBuildFolder(root), "build.json"),
      `${JSON.stringify(describe(root, libtorch), null, 2)}\n`,
    );
    await writeFile(join(folder, STAMP), stamp);
    const files = fromLocalBuild(root, []);
    if (!files)
      throw new InstructPix2PixError("ERR_BUILD_TOOLS", `the build left no addon in ${localBuildFolder(root)}`);
    return { built: true, files, libtorch };
  });
}

const LOCK = ".lock";

/** Hash of the last successful build's sources. */
const STAMP = "sources.sha256";

/** The addon in the build folder, if it was built from these sources for this libtorch. */
export function currentBuild(root: string, libtorch: Libtorch): AddonFiles | undefined {
  const files = fromLocalBuild(root, []);
  if (!files?.build || !sameMinor(files.build.libtorch, libtorch.version)) return undefined;
  if (files.build.version !== manifestVersion(root)) return undefined;
  // A CPU build works with both, but the CUDA library can be built now.
  if (libtorch.variant === "cuda" && files.build.variant === "cpu") return undefined;
  const stamp = join(root, "build", STAMP);
  return existsSync(stamp) && readFileSync(stamp, "utf8") === stampOf(root) ? files : undefined;
}

function stampOf(root: string): string {
  const hash = createHash("sha256");
  const add = (path: string) => {
    const content = readFileSync(join(root, path));
    hash.update(`${path}\0${content.length}\0`).update(content);
  };
  add("CMakeLists.txt");
  for (const path of readdirSync(join(root, "native"), { recursive: true, encoding: "utf8" }).sort())
    if (/\.(h|hpp|cc|cpp|c|cu|cuh|cmake)$/.test(path)) add(join("native", path));
  return `${hash.digest("hex")}\n`;
}

/** CMake refuses the cache of another path or generator, so it is deleted. */
async function prepareFolder(folder: string, root: string, tools: BuildTools, clean: boolean): Promise<void> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, "CMakeCache.txt");
  const cache = existsSync(path) ? readFileSync(path, "utf8") : "";
  const setting = (name: string) => new RegExp(`^${name}:INTERNAL=(.*)$`, "m").exec(cache)?.[1];
  const foreign =
    (tools.generator !== undefined && setting("CMAKE_GENERATOR") !== tools.generator) ||
    setting("CMAKE_HOME_DIRECTORY") !== root;
  if (!clean && !foreign) return;
  const names = clean ? readdirSync(folder).filter((name) => name !== LOCK) : ["CMakeCache.txt", "CMakeFiles"];
  for (const name of names) await rm(join(folder, name), { recursive: true, force: true });
}

type Command = [program: string, ...args: string[]];

function commandsFor(
  root: string,
  folder: string,
  libtorch: Libtorch,
  tools: BuildTools,
  options: BuildOptions,
): Command[] {
  const { toolchain } = options;
  const cmakeJs = cmakeJsProgram(root, toolchain === undefined ? (options.tool ?? "auto") : "cmake");
  const parallel = String(options.parallel ?? Math.max(1, Math.min(usableCores(), Math.floor(totalmem() / 2e9))));
  const generator = tools.generator ? ["-G", tools.generator] : [];
  if (cmakeJs === undefined)
    return [
      [
        "cmake",
        "-S",
        root,
        "-B",
        folder,
        ...generator,
        "-DCMAKE_BUILD_TYPE=Release",
        ...(toolchain === undefined ? [] : [`-DCMAKE_TOOLCHAIN_FILE=${toolchain}`]),
        `-DIP2P_LIBTORCH=${libtorch.root}`,
        ...headerFolders(root),
      ],
      ["cmake", "--build", folder, "--config", "Release", "--parallel", parallel],
    ];
  const common = ["--directory", root, "--out", folder, "--config", "Release", ...generator];
  return [
    [process.execPath, cmakeJs, "configure", ...common, `--CDIP2P_LIBTORCH=${libtorch.root}`],
    [process.execPath, cmakeJs, "build", ...common, "--parallel", parallel],
  ];
}

/** The include folders of this package's dependencies, wherever they are installed. */
function headerFolders(root: string): string[] {
  const folders = { IP2P_NODE_INCLUDE: "node-api-headers/include", IP2P_ADDON_API_INCLUDE: "node-addon-api" };
  return Object.entries(folders).flatMap(([variable, path]) => {
    const [name, ...below] = path.split("/") as [string, ...string[]];
    const folder = packageFolder(root, name);
    return folder === undefined ? [] : [`-D${variable}=${join(folder, ...below)}`];
  });
}

/** The path of cmake-js, or undefined to run CMake directly. */
function cmakeJsProgram(root: string, tool: NonNullable<BuildOptions["tool"]>): string | undefined {
  if (tool === "cmake") return undefined;
  const folder = packageFolder(root, "cmake-js");
  if (folder !== undefined) return join(folder, "bin", "cmake-js");
  if (tool === "auto" && process.platform !== "win32") return undefined;
  throw new InstructPix2PixError(
    "ERR_BUILD_TOOLS",
    isClone(root)
      ? "cmake-js is not installed; run `npm run setup`"
      : "building needs cmake-js, which is not installed by default; run `npm install cmake-js`",
  );
}

function packageFolder(root: string, name: string): string | undefined {
  const manifest = resolveFrom(root, `${name}/package.json`);
  return manifest === undefined ? undefined : dirname(manifest);
}

async function run([program, ...args]: Command, folder: string, options: BuildOptions): Promise<void> {
  const logPath = join(folder, "build.log");
  const log = createWriteStream(logPath, { flags: args.includes("build") || args.includes("--build") ? "a" : "w" });
  let firstError: string | undefined;
  const onLine = (line: string) => {
    if (/(^|\s)(fatal error|error|CMake Error)\b.*:?/i.test(line)) firstError ??= line.trim();
    options.onLine?.(line);
  };
  const lines = { stdout: new Lines(onLine), stderr: new Lines(onLine) };
  const { status, signal, error } = await runProgram(program, args, {
    env: options.env,
    variables: { NINJA_STATUS: "[%f/%t] " },
    folder,
    signal: options.signal,
    // CMake would leave its compilers running.
    killGroup: options.signal !== undefined,
    onOutput: (text, stream) => {
      log.write(text);
      lines[stream].add(text);
    },
  });
  await new Promise((resolve) => log.end(resolve));
  throwIfAborted(options.signal);
  if (status !== 0)
    throw new InstructPix2PixError(
      "ERR_BUILD_TOOLS",
      `building the addon failed: ${firstError ?? error?.message ?? `${program} ended with ${status ?? signal}`}; the log is ${logPath}`,
    );
}

function describe(root: string, libtorch: Libtorch): BuildInfo {
  const commit = isClone(root) ? commitOf(root) : null;
  const version = manifestVersion(root);
  return { libtorch: libtorch.version.replace(/\+.*$/, ""), variant: libtorch.variant, commit, version };
}

/** The checked-out commit of a clone; null if unknown. git does not search above the clone. */
function commitOf(root: string): string | null {
  const variables = { GIT_CEILING_DIRECTORIES: dirname(root) };
  const git = (...args: string[]) => runProgramSync("git", args, { folder: root, variables });
  const head = git("rev-parse", "HEAD");
  if (head.status !== 0) return null;
  const dirty = git("status", "--porcelain", "--", "native", "CMakeLists.txt").stdout.trim() ? "-dirty" : "";
  return `${head.stdout.trim()}${dirty}`;
}
