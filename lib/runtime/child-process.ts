import { spawn, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { childEnvironment, findProgram } from "./child-environment.js";
import { type Environment, packageRoot } from "./platform.js";

/** Options for running a program. */
export interface ChildOptions {
  /** Default `process.env`. */
  env?: Environment | undefined;
  /** Additional variables for this program. */
  variables?: Environment;
  /** Working directory, one of this package's folders; default is a private, empty one, removed afterwards. */
  folder?: string;
  /** Time limit in milliseconds; default none. */
  timeout?: number;
}

export interface ChildProcessOptions extends ChildOptions {
  signal?: AbortSignal | undefined;
  /** Signal sent on abort or time-out; default SIGTERM. */
  killSignal?: NodeJS.Signals;
  /** So many milliseconds after an abort it is killed, if it still runs; default never. */
  killAfter?: (() => number) | undefined;
  /** Whether keys such as Ctrl-C on this process's terminal do not reach it. */
  ownGroup?: boolean;
  /**
   * Whether what it has started itself is ended along with it on abort; implies `ownGroup`. Not on Windows. Then also its end is
   * that of all of them, as far as they write to its output.
   */
  killGroup?: boolean;
  /** Whether its standard input is a pipe that stays open as long as this process lives; default is an empty one. */
  openInput?: boolean;
  /** Receives its output as it arrives. */
  onOutput?: (text: string, stream: "stdout" | "stderr") => void;
}

export interface ChildSyncOptions extends ChildOptions {
  /** Its standard input; default empty. */
  input?: string;
}

export interface ChildResult {
  /** The exit status; null if it was killed by a signal or failed to start. */
  status: number | null;
  signal: NodeJS.Signals | null;
  /** Empty if `onOutput` received it. */
  stdout: string;
  stderr: string;
  /** Why it failed to start, or (for {@link runProgramSync}) was killed. */
  error?: Error;
}

/**
 * Runs a program to its end. All child processes of this package are started here: files in the user's current
 * directory (a clone, a download) must not be run or imported by Python, a linker or a shell. So programs are searched
 * only in the absolute folders of `PATH`, and run in a private folder with {@link childEnvironment}.
 */
export function runProgram(
  program: string,
  args: readonly string[],
  options: ChildProcessOptions = {},
): Promise<ChildResult> {
  const prepared = prepare(program, options);
  if ("error" in prepared) return Promise.resolve(prepared);
  const { path, cwd, env, cleanUp } = prepared;
  const { timeout, signal, killSignal = "SIGTERM", killAfter, openInput, onOutput } = options;
  const killGroup = options.killGroup && process.platform !== "win32";
  return new Promise<ChildResult>((settle) => {
    const result: ChildResult = { status: null, signal: null, stdout: "", stderr: "" };
    const child = spawn(path, args, {
      ...{ cwd, env, timeout, signal, killSignal, detached: options.ownGroup || killGroup },
      stdio: [openInput ? "pipe" : "ignore", "pipe", "pipe"],
    } as const);
    let killer: NodeJS.Timeout | undefined;
    const onAbort = () => {
      if (killGroup) endGroup(child.pid, killSignal);
      if (killAfter) killer = setTimeout(() => child.kill("SIGKILL"), killAfter());
    };
    signal?.addEventListener("abort", onAbort);
    for (const stream of ["stdout", "stderr"] as const)
      child[stream]!.setEncoding("utf8").on("data", (text: string) => {
        if (onOutput) onOutput(text, stream);
        else result[stream] += text;
      });
    child.on("error", (error) => child.pid === undefined && settle({ ...result, error }));
    child.on("close", (status, by) => {
      // A timer for a program that has ended would keep this process alive.
      signal?.removeEventListener("abort", onAbort);
      clearTimeout(killer);
      settle({ ...result, status, signal: by });
    });
  }).finally(cleanUp);
}

/** Sends a signal to all processes of a group; to none if it has ended, or was never started. */
function endGroup(leader: number | undefined, signal: NodeJS.Signals): void {
  if (leader === undefined) return;
  try {
    process.kill(-leader, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/**
 * Starts a program that goes on when this process ends, in a group of its own, as {@link runProgram} otherwise.
 *
 * @param options.output a file that its output is added to
 * @returns its process id
 * @throws the system's error if it cannot be started
 */
export async function startDetached(
  program: string,
  args: readonly string[],
  { output, ...options }: ChildOptions & { output: string },
): Promise<number> {
  // A private folder would have to be removed by a process that has ended by then.
  const prepared = prepare(program, { folder: packageRoot, ...options });
  if ("error" in prepared) throw prepared.error;
  const { path, cwd, env } = prepared;
  const file = openSync(output, "a");
  try {
    const child = spawn(path, args, { cwd, env, stdio: ["ignore", file, file], detached: true });
    await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
    child.unref();
    return child.pid!;
  } finally {
    closeSync(file);
  }
}

/** The synchronous version. */
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
 * Runs Node.js with a CommonJS script given as text. This process's options, including NODE_OPTIONS, are not passed on,
 * since they may name modules by relative paths.
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

/** Undefined if no temporary folder can be created; then this package's folder is used, which holds no programs. */
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

/** Splits streamed text into lines: calls `each` with every complete line, and `end` with the last one. */
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
