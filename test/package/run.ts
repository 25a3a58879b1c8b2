import { spawn } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface RunOptions {
  cwd?: string;
  /** Instead of this process's environment. */
  env?: NodeJS.ProcessEnv;
}

export interface RunResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end, successful or not. */
export function runAnyhow(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: options.cwd, env: options.env, stdio: ["ignore", "pipe", "pipe"] });
    const result: RunResult = { status: null, stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (result.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (result.stderr += text));
    child.on("error", reject);
    child.on("close", (status) => resolve({ ...result, status }));
  });
}

/** Runs a program that must succeed. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const result = await runAnyhow(program, args, options);
  if (result.status !== 0)
    throw new Error(`${program} ${args.join(" ")} ended with ${result.status}\n${result.stdout}${result.stderr}`);
  return result;
}

/** The path of a program of a package that this repository develops with, to be run by Node.js. */
export function programOf(packageName: string, path: string): string {
  return fileURLToPath(new URL(`../../node_modules/${packageName}/${path}`, import.meta.url));
}

/** npm's own program. */
export async function npmProgram(): Promise<string> {
  const { npm_execpath } = process.env;
  if (npm_execpath?.endsWith("npm-cli.js")) return npm_execpath;
  const { stdout } = await run("npm", ["root", "--global"]);
  return join(stdout.trim(), "npm", "bin", "npm-cli.js");
}

/** Programs that a shell script may rely on everywhere. */
const COMMON_PROGRAMS = ["sh", "env", "sed", "dirname", "basename", "uname", "readlink", "cat"];

/**
 * The environment of a machine that has Node.js and a shell but no compiler, no CMake, no Python: a path of one folder.
 * Nothing that could lead to another libtorch or another cache is left in it.
 */
export function bareEnvironment(folder: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  symlinkSync(process.execPath, join(bin, "node"));
  for (const program of COMMON_PROGRAMS) symlinkSync(join("/usr/bin", program), join(bin, program));
  const kept = Object.entries(process.env).filter(
    ([name]) =>
      !/^(LIBTORCH|INSTRUCT_PIX2PIX|npm_|NODE_|VITEST|CI$|CC$|CXX$)/i.test(name) || name === "NODE_EXTRA_CA_CERTS",
  );
  return { ...Object.fromEntries(kept), PATH: bin, OMP_NUM_THREADS: "1", ...more };
}
