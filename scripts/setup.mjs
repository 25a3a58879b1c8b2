// Makes a clone ready to use, and does nothing where nothing has changed:
//
//   node scripts/setup.mjs [--native] [--typescript] [--quiet]
//
// 1. node modules (npm ci without install scripts, if they differ from package-lock.json)
// 2. TypeScript to dist/, and the server's web page to dist/web/
// 3. libtorch: an existing one, else it is downloaded into the user's cache
// 4. the native addon to build/Release/
//
// --native skips only type checking, --typescript does 1 and 2 only; --quiet prints only when there is work. Uses only
// Node.js's own modules: a fresh clone has no others.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const at = (...path) => join(root, ...path);
const module_ = (path) => import(pathToFileURL(at(path)).href);

class SetupError extends Error {}

const { values: flags } = parseArgs({
  options: {
    native: { type: "boolean", default: false },
    typescript: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
  },
});
const everything = flags.native === flags.typescript;

const say = (text) => console.log(`setup: ${text}`);
const upToDate = (what) => {
  if (!flags.quiet) say(`${what}: up to date`);
};

/** Runs a program on this terminal and returns its exit status. */
function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit", ...options });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
}

// ---- 1. node modules ------------------------------------------------------------------------------------------------

/** Whether node_modules holds what package-lock.json asks for; npm keeps a copy of the lock of what it installed. */
function modulesAreCurrent() {
  const installedPath = at("node_modules", ".package-lock.json");
  if (!existsSync(installedPath)) return false;
  const wanted = JSON.parse(readFileSync(at("package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(installedPath, "utf8")).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === "") return true;
    const found = installed[path];
    // Optional packages are those of other platforms.
    if (!found) return entry.optional === true || entry.devOptional === true || entry.peer === true;
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

async function setUpModules() {
  if (modulesAreCurrent()) return upToDate("node modules");
  // npm would empty the link's target, which other checkouts may be using.
  if (lstatSync(at("node_modules"), { throwIfNoEntry: false })?.isSymbolicLink())
    throw new SetupError("node_modules is a link and differs from package-lock.json; run `npm ci` in its target");
  say("installing node modules (npm ci)");
  // Nothing needed here comes from a dependency's install script, so none is run.
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  const status = npm?.endsWith(".js")
    ? await run(process.execPath, [npm, ...args])
    : await run("npm", args, { shell: process.platform === "win32" });
  if (status !== 0) throw new SetupError(`npm ci ended with ${status}`);
}

// ---- 2. TypeScript --------------------------------------------------------------------------------------------------

function* filesBelow(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}

/** Changes when one of the files does, or the version of the tool that reads them. */
function stampOf(tool, ...inputs) {
  const hash = createHash("sha256");
  for (const path of [at("node_modules", tool, "package.json"), ...inputs].sort()) {
    const { size, mtimeMs } = statSync(path);
    hash.update(`${path}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest("hex");
}

async function setUpTypeScript() {
  const stampPath = at("dist", ".sources");
  const stamp = stampOf("typescript", at("tsconfig.json"), ...filesBelow(at("lib")));
  if (existsSync(stampPath) && readFileSync(stampPath, "utf8") === stamp) return upToDate("dist");
  say("compiling TypeScript to dist/");
  rmSync(stampPath, { force: true });
  const status = await run(process.execPath, [
    at("node_modules", "typescript", "bin", "tsc"),
    "-p",
    at("tsconfig.json"),
  ]);
  if (status !== 0) {
    // The compiler emits output despite errors, and the native build needs no more.
    if (everything || !flags.native || !existsSync(at("dist", "native", "build.js")))
      throw new SetupError("the TypeScript sources have errors");
    say("the TypeScript sources have errors; continuing with the native build");
    return;
  }
  for (const path of filesBelow(at("dist"))) {
    if (path.startsWith(at("dist", "web"))) continue;
    const source = path.replace(at("dist"), at("lib")).replace(/(\.d)?\.[jt]s$/, ".ts");
    if (/\.[jt]s$/.test(path) && !existsSync(source)) rmSync(path);
  }
  const main = at("dist", "cli", "main.js");
  if (existsSync(main)) chmodSync(main, 0o755);
  mkdirSync(at("dist"), { recursive: true });
  writeFileSync(stampPath, stamp);
}

async function setUpPage() {
  const stampPath = at("dist", ".page.sources");
  const stamp = stampOf("vite", at("package-lock.json"), ...filesBelow(at("web")));
  if (existsSync(stampPath) && readFileSync(stampPath, "utf8") === stamp) return upToDate("web page");
  say("building the web page to dist/web/");
  const vite = at("node_modules", "vite", "bin", "vite.js");
  const status = await run(process.execPath, [vite, "build", at("web"), "--logLevel", "warn"]);
  if (status !== 0) throw new SetupError(`the web page was not built: vite ended with ${status}`);
  writeFileSync(stampPath, stamp);
}

// ---- 3. and 4. libtorch and the addon -------------------------------------------------------------------------------

async function setUpLibtorch() {
  const { resolveLibtorch } = await module_("dist/runtime/libtorch/find.js");
  try {
    const { version, root: folder } = resolveLibtorch();
    return upToDate(`libtorch ${version} at ${folder}`);
  } catch (error) {
    const { LIBTORCH, LIBTORCH_USE_PYTORCH } = process.env;
    if (error.code !== "ERR_LIBTORCH_NOT_FOUND" || LIBTORCH || LIBTORCH_USE_PYTORCH) throw error;
  }
  // Checked before downloading half a gigabyte.
  const { findBuildTools } = await module_("dist/runtime/build-tools.js");
  findBuildTools();
  say("downloading libtorch into the user's cache");
  const { installLibtorch } = await module_("dist/runtime/libtorch/install.js");
  const { InstallProgress } = await module_("dist/cli/install-progress.js");
  const progress = new InstallProgress(process.stderr);
  try {
    const { version, root: folder } = await installLibtorch({ onEvent: progress.onEvent });
    progress.stop();
    say(`libtorch ${version} is installed at ${folder}`);
  } finally {
    progress.stop();
  }
}

async function setUpAddon() {
  const { buildAddon } = await module_("dist/runtime/build.js");
  const counter = /^\[\d+\/\d+\] /;
  const begun = Date.now();
  const { built, files } = await buildAddon({
    onBegin: say,
    onLine: (line) => {
      if (process.stdout.isTTY && counter.test(line))
        process.stdout.write(`\r\x1b[K${line.slice(0, process.stdout.columns - 1)}`);
      else if (/\bwarning:/i.test(line)) console.log(line);
    },
  });
  if (!built) return upToDate("native addon");
  if (process.stdout.isTTY) process.stdout.write("\r\x1b[K");
  say(`built ${files.addon} in ${Math.round((Date.now() - begun) / 1000)} s`);
}

try {
  const numbers = (version) => version.split(".").map(Number);
  const oldest = JSON.parse(readFileSync(at("package.json"), "utf8")).engines.node.replace(">=", "");
  const [[major, minor], [oldestMajor, oldestMinor]] = [numbers(process.versions.node), numbers(oldest)];
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))
    throw new SetupError(`Node.js ${oldest} or newer is needed, not ${process.version}`);
  await setUpModules();
  await setUpTypeScript();
  await setUpPage();
  if (everything || flags.native) {
    await setUpLibtorch();
    await setUpAddon();
  }
} catch (error) {
  const known = error instanceof SetupError || error?.name === "InstructPix2PixError";
  console.error(known ? `setup: ${error.message}` : error);
  process.exitCode = 1;
}
