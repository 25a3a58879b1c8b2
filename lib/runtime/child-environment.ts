import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, join, sep } from "node:path";
import type { Environment } from "../native/platform.js";

const windows = process.platform === "win32";

/** What POSIX systems search where `PATH` is not set. */
const DEFAULT_PATH = windows ? [] : ["/usr/bin", "/bin"];

/** What can be started on Windows without a shell. */
const EXTENSIONS = windows ? [".exe", ".com"] : [""];

/** Where npm, npx and the like put a project's programs: in front of `PATH`, and whatever the project wants in there. */
const PACKAGE_PROGRAMS = /(?:^|[\\/])node_modules[\\/]\.bin[\\/]*$/;

/** Whether a path names the same file wherever one stands. On Windows, `\folder` depends on the current drive. */
function isFixed(path: string): boolean {
  return windows ? /^(?:[a-z]:[\\/]|\\\\)/i.test(path) : isAbsolute(path);
}

function entries(value: string): string[] {
  return value.split(windows ? ";" : ":").map((entry) => (windows ? entry.replaceAll('"', "") : entry));
}

/** The folders of `PATH` in which programs are looked for: absolute ones, and none with a project's own programs. */
function programFolders(env: Environment): string[] {
  const value = env[variableName(env, "PATH")];
  return value === undefined
    ? DEFAULT_PATH
    : entries(value).filter((folder) => isFixed(folder) && !PACKAGE_PROGRAMS.test(folder));
}

/** A variable as it is spelled in an environment: on Windows, `Path` and `PATH` are one. */
function variableName(env: Environment, name: string): string {
  return (windows && Object.keys(env).find((each) => each.toUpperCase() === name)) || name;
}

/**
 * An environment in which a program and what it starts look nothing up in the current directory: `PATH` and
 * `PYTHONPATH` without relative and empty entries, Python and Windows told to leave the current directory out.
 */
export function childEnvironment(env: Environment, more: Environment = {}): NodeJS.ProcessEnv {
  const child: NodeJS.ProcessEnv = { ...env, PYTHONSAFEPATH: "1" };
  if (windows) child.NoDefaultCurrentDirectoryInExePath = "1";
  child[variableName(env, "PATH")] = programFolders(env).join(windows ? ";" : ":");
  if (env.PYTHONPATH !== undefined) {
    // An empty value counts as one empty entry in some versions.
    delete child.PYTHONPATH;
    const kept = entries(env.PYTHONPATH).filter(isFixed);
    if (kept.length > 0) child.PYTHONPATH = kept.join(windows ? ";" : ":");
  }
  return { ...child, ...more };
}

/**
 * The absolute path of a program: an absolute one as it is, a name by the folders of `PATH`.
 *
 * @returns undefined for a name that is in none of them, and for a relative path
 */
export function findProgram(program: string, env: Environment): string | undefined {
  if (isFixed(program)) return program;
  if (program === "" || program.includes("/") || program.includes(sep)) return undefined;
  for (const folder of programFolders(env))
    for (const extension of EXTENSIONS) {
      const suffix = program.toLowerCase().endsWith(extension) ? "" : extension;
      const path = join(folder, program + suffix);
      if (isExecutable(path)) return path;
    }
  return undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
