import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, join, sep } from "node:path";
import type { Environment } from "./platform.js";

const windows = process.platform === "win32";

/** POSIX systems' default if `PATH` is not set. */
const DEFAULT_PATH = windows ? [] : ["/usr/bin", "/bin"];

/** Extensions of programs that Windows can start without a shell. */
const EXTENSIONS = windows ? [".exe", ".com"] : [""];

/** Folders of a project's own programs, which npm and npx put in front of `PATH`; their content is not trusted. */
const PACKAGE_PROGRAMS = /(?:^|[\\/])node_modules[\\/]\.bin[\\/]*$/;

/** Whether a path is independent of the current directory. On Windows, `\folder` depends on the current drive. */
function isFixed(path: string): boolean {
  return windows ? /^(?:[a-z]:[\\/]|\\\\)/i.test(path) : isAbsolute(path);
}

function entries(value: string): string[] {
  return value.split(windows ? ";" : ":").map((entry) => (windows ? entry.replaceAll('"', "") : entry));
}

/** The folders of `PATH` that are searched for programs: absolute ones, without a project's own programs. */
function programFolders(env: Environment): string[] {
  const value = env[variableName(env, "PATH")];
  return value === undefined
    ? DEFAULT_PATH
    : entries(value).filter((folder) => isFixed(folder) && !PACKAGE_PROGRAMS.test(folder));
}

/** A variable's spelling in an environment: on Windows, `Path` and `PATH` are the same. */
function variableName(env: Environment, name: string): string {
  return (windows && Object.keys(env).find((each) => each.toUpperCase() === name)) || name;
}

/**
 * An environment in which a program and its children do not search the current directory: `PATH` and `PYTHONPATH`
 * without relative and empty entries, and settings for Python and Windows to exclude the current directory.
 */
export function childEnvironment(env: Environment, more: Environment = {}): NodeJS.ProcessEnv {
  const child: NodeJS.ProcessEnv = { ...env, PYTHONSAFEPATH: "1" };
  if (windows) child.NoDefaultCurrentDirectoryInExePath = "1";
  child[variableName(env, "PATH")] = programFolders(env).join(windows ? ";" : ":");
  if (env.PYTHONPATH !== undefined) {
    // Some versions treat an empty value as an empty entry.
    delete child.PYTHONPATH;
    const kept = entries(env.PYTHONPATH).filter(isFixed);
    if (kept.length > 0) child.PYTHONPATH = kept.join(windows ? ";" : ":");
  }
  return { ...child, ...more };
}

/**
 * The absolute path of a program: an absolute path unchanged, a name by searching `PATH`.
 *
 * @returns undefined for a name that is not found, and for a relative path
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
