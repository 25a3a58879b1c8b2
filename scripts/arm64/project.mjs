// A copy of this repository for the emulated machine: its own node modules, libtorch and addon.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

/** The platform as the packages' names have it. */
export const PLATFORM = "linux-arm64-gnu";

/** What a copy keeps of its own. */
const OWN = new Set(["node_modules", "build"]);

function git(root, ...args) {
  const { status, stdout, stderr } = spawnSync("git", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`git ${args[0]}: ${stderr.trim()}`);
  return stdout;
}

function* filesBelow(folder, prefix = "") {
  for (const entry of readdirSync(join(folder, prefix), { withFileTypes: true })) {
    const path = prefix ? `${prefix}/${entry.name}` : entry.name;
    if (entry.isDirectory()) yield* filesBelow(folder, path);
    else yield path;
  }
}

/** By content: a file that is copied again is compiled again. */
const isSame = (a, b) =>
  existsSync(b) && statSync(a).size === statSync(b).size && readFileSync(a).equals(readFileSync(b));

/** Copies what git knows or would add, and `dist`; removes what is no longer there. */
function copySources(root, project) {
  const listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0").filter(Boolean);
  const compiled = [...filesBelow(join(root, "dist"))].map((path) => `dist/${path}`);
  const wanted = new Set([...listed, ...compiled].filter((path) => existsSync(join(root, path))));
  mkdirSync(project, { recursive: true });
  for (const name of readdirSync(project)) {
    if (OWN.has(name)) continue;
    const there = statSync(join(project, name)).isDirectory()
      ? [...filesBelow(join(project, name))].map((path) => `${name}/${path}`)
      : [name];
    for (const path of there) if (!wanted.has(path)) rmSync(join(project, path));
  }
  for (const path of wanted) {
    const target = join(project, path);
    try {
      if (isSame(join(root, path), target)) continue;
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(join(root, path), target);
    } catch (error) {
      // Tests that run meanwhile make files and remove them.
      if (error.code !== "ENOENT" || existsSync(join(root, path))) throw error;
    }
  }
}

/** npm chooses packages for the platform that it is told; none of their scripts is needed. */
export const npmPlatform = ["--os=linux", "--cpu=arm64", "--libc=glibc", "--ignore-scripts", "--no-audit", "--no-fund"];

function installModules(project, say) {
  const wanted = readFileSync(join(project, "package-lock.json"), "utf8");
  const stamp = join(project, "node_modules", ".arm64-lock.json");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  say("installing node modules for linux-arm64");
  const { status, stderr } = spawnSync("npm", ["ci", ...npmPlatform, "--loglevel=error"], {
    cwd: project,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`npm ci ended with ${status}: ${stderr.trim()}`);
  copyFileSync(join(project, "package-lock.json"), stamp);
}

/**
 * @param root this repository, with `dist` up to date
 * @param project the folder of the copy
 * @param cache the emulated machine's folder for libtorch, as INSTRUCT_PIX2PIX_CACHE
 * @returns the copy's output folder of the build, and its libtorch
 */
export async function ensureProject({ root, project, cache, say }) {
  const load = (path) => import(join(root, "dist", "runtime", path));
  copySources(root, project);
  installModules(project, say);
  const { installLibtorch } = await load("libtorch/install.js");
  const { releaseFor } = await load("libtorch/releases.js");
  const libtorch = await installLibtorch({
    release: releaseFor(PLATFORM),
    variant: "cpu",
    env: { ...process.env, INSTRUCT_PIX2PIX_CACHE: cache },
    // It cannot be loaded here; the emulated machine's tests do.
    probe: async () => undefined,
    onEvent: (event) => event.type === "message" && say(event.text),
  });
  const { buildAddon } = await load("build.js");
  const { built, files } = await buildAddon({
    root: project,
    libtorch: libtorch.root,
    toolchain: join(project, "cmake", "linux-arm64.cmake"),
    onBegin: say,
    onLine: (line) => /\bwarning:/i.test(line) && say(line),
  });
  if (built) say(`built ${files.addon}`);
  return { build: dirname(files.addon), libtorch: libtorch.root };
}
