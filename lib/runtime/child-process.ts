import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Environment, packageRoot } from "../native/platform.js";
import { childEnvironment, findProgram } from "./child-environment.js";

/** How a program is run. */
export interface ChildOptions {
  /** Default `process.env`. */
  env?: Environment | undefined;
  /** Variables for this program alone. */
  variables?: Environment;
  /** The folder to run in, one of this package's own; default is a private, empty one, removed afterwards. */
  folder?: string;
  /** Milliseconds until it is ended; default never. */
  timeout?: number;
}

export interface ChildProcessOptions extends ChildOptions {
  signal?: AbortSignal | undefined;
  /** What ends it when `signal` aborts or the time is over; default SIGTERM. */
  killSignal?: NodeJS.Signals;
  /** Told of what it prints, as it comes. */
  onOutput?: (text: string, stream: "stdout" | "stderr") => void;
}

export interface ChildSyncOptions extends ChildOptions {
  /** What it reads; default nothing. */
  input?: string;
}

export interface ChildResult {
  /** The exit status; null if it was ended by a signal or never began. */
  status: number | null;
  signal: NodeJS.Signals | null;
  /** Empty where `onOutput` took it. */
  stdout: string;
  stderr: string;
  /** Why it never began, or (of {@link runProgramSync}) was ended. */
  error?: Error;
}

/**
 * Runs a program to its end. Every child process of this package is started here: whatever lies in the user's current
 * directory (a clone, a download) must not be run or imported by Python, a linker or a shell. So a program is looked up
 * in the absolute folders of `PATH` only, and runs in a private folder with {@link childEnvironment}.
 */
export function runProgram(
  program: string,
  args: readonly string[],
  options: ChildProcessOptions = {},
): Promise<ChildResult> {
  const prepared = prepare(program, options);
  if ("error" in prepared) return Promise.resolve(prepared);
  const { path, cwd, env, cleanUp } = prepared;
  const { timeout, signal, killSignal, onOutput } = options;
  return new Promise<ChildResult>((settle) => {
    const result: ChildResult = { status: null, signal: null, stdout: "", stderr: "" };
    const child = spawn(path, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], timeout, signal, killSignal });
    for (const stream of ["stdout", "stderr"] as const)
      child[stream].setEncoding("utf8").on("data", (text: string) => {
        if (onOutput) onOutput(text, stream);
        else result[stream] += text;
      });
    child.on("error", (error) => child.pid === undefined && settle({ ...result, error }));
    child.on("close", (status, by) => settle({ ...result, status, signal: by }));
  }).finally(cleanUp);
}

/** The same for who cannot wait but stand still. */
export function runProgramSync(program: string, args: readonly string[], options: ChildSyncOptions = {}): ChildResult {
  const prepared = prepare(program, options);
  if ("error" in prepared) return prepared;
  const { path, cwd, env, cleanUp } = prepared;
  try {
    const { timeout, input = "" } = options;
    const { status, signal, stdout, stderr, error } = spawnSync(path, args, {
      ...{ cwd, env, input, timeout },
      encoding: "utf8",
    });
    return { status, signal, stdout: stdout ?? "", stderr: stderr ?? "", ...(error && { error }) };
  } finally {
    cleanUp();
  }
}

/**
 * Node.js itself, with a program given as text, in the language of CommonJS. Options of this process, by variables too,
 * are not passed on: they may name modules by relative paths.
 */
export const nodeProgram = {
  path: process.execPath,
  args: (program: string, ...args: string[]): string[] => ["--input-type=commonjs", "-e", program, "--", ...args],
  variables: { NODE_OPTIONS: "", NODE_PATH: "" },
} as const;

function prepare(program: string, { env = process.env, variables, folder }: ChildOptions) {
  const path = findProgram(program, env);
  if (path === undefined) return notFound(program);
  const own = folder === undefined ? privateFolder() : undefined;
  return {
    path,
    cwd: folder ?? own ?? packageRoot,
    env: childEnvironment(env, variables),
    cleanUp: () => own !== undefined && rmSync(own, { recursive: true, force: true }),
  };
}

/** Undefined where no temporary folder can be made. Then this package's own serves, which holds no programs. */
function privateFolder(): string | undefined {
  try {
    return mkdtempSync(join(resolve(tmpdir()), "ip2p-child-"));
  } catch {
    return undefined;
  }
}

function notFound(program: string): ChildResult & { error: Error } {
  const error = Object.assign(new Error(`${program}: no such program (looked for in the absolute folders of PATH)`), {
    code: "ENOENT",
  });
  return { status: null, signal: null, stdout: "", stderr: "", error };
}

/** Makes lines of text that comes in pieces: calls `each` with every whole line, and `end` with the last one. */
export class Lines {
  readonly #each: (line: string) => void;
  readonly #separator: RegExp;
  #rest = "";

  constructor(each: (line: string) => void, separator = /\r?\n/) {
    this.#each = each;
    this.#separator = separator;
  }

  add(text: string): void {
    const parts = (this.#rest + text).split(this.#separator);
    this.#rest = parts.pop() as string;
    for (const line of parts) this.#each(line);
  }

  end(): void {
    if (this.#rest !== "") this.#each(this.#rest);
    this.#rest = "";
  }
}
