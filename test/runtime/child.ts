import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** How a child process ended. */
export interface Ending {
  /** The exit status, or the name of the signal that ended the process. */
  status: number | string;
  stdout: string;
  stderr: string;
}

export interface ChildOptions {
  /** Flags for Node itself, such as `--expose-gc`. */
  nodeOptions?: readonly string[];
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Bytes of private writable memory it may have (Linux only): allocations beyond it fail. */
  dataLimit?: number;
  /** Called whenever something arrived on standard output. */
  onOutput?: (stdout: string, child: ChildProcess) => void;
  /** Milliseconds after which it is killed. Default 250 s. */
  timeout?: number;
}

const folder = fileURLToPath(new URL("children", import.meta.url));

/** Runs one of the programs in `children/` on the compiled package; `npm test` compiles it first. */
export function runChild(program: string, args: readonly string[] = [], options: ChildOptions = {}): Promise<Ending> {
  const command = [process.execPath, ...(options.nodeOptions ?? []), join(folder, program), ...args];
  const limited = options.dataLimit !== undefined && process.platform === "linux";
  const [file, ...rest] = limited
    ? ["sh", "-c", `ulimit -d ${Math.floor(options.dataLimit! / 1024)}; exec "$@"`, "sh", ...command]
    : command;
  const child = spawn(file!, rest, {
    cwd: options.cwd,
    env: { ...process.env, NODE_OPTIONS: "", ...options.env },
    timeout: options.timeout ?? 250_000,
    killSignal: "SIGKILL",
  });
  const output = { stdout: "", stderr: "" };
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    output.stdout += text;
    options.onOutput?.(output.stdout, child);
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    output.stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ status: code ?? signal!, ...output }));
  });
}

/** Runs a program that prints one line of JSON last, and gives what it printed; any other ending is an error. */
export async function measureInChild<T>(
  program: string,
  args: readonly string[] = [],
  options: ChildOptions = {},
): Promise<T> {
  const { status, stdout, stderr } = await runChild(program, args, options);
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stderr.trim() || stdout.trim()}`);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as T;
}
