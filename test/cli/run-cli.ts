import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "../../lib/cli/dispatch.js";
import { showWarnings } from "../../lib/cli/warnings.js";
import { fixture } from "../helpers/fixtures.js";

/** The command as it is installed; `npm test` compiles it first. */
const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export interface Outcome {
  /** The exit status, or the name of the signal that ended the process. */
  status: number | string;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  cwd: string;
  env?: NodeJS.ProcessEnv;
  /** Kilobytes that a file may have, as a stand-in for a full disk. */
  fileSizeLimit?: number;
  /** Called whenever something arrived on standard output. */
  onOutput?: (stdout: string, child: ChildProcess) => void;
}

/** Runs `ip2p` in a separate process. */
export function ip2p(args: readonly string[], options: RunOptions): Promise<Outcome> {
  return runProgram(main, args, options);
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Runs `ip2p` within this process, where loading it costs nothing: for tables of cases of which others show how the process
 * ends. Calls wait for one another, since the current folder is the process's.
 */
export function ip2pHere(args: readonly string[], { cwd }: Pick<RunOptions, "cwd">): Promise<Outcome> {
  const run = async (): Promise<Outcome> => {
    const output = { stdout: "", stderr: "" };
    const collect = (name: keyof typeof output) =>
      new Writable({
        write: (chunk, _, done) => {
          output[name] += String(chunk);
          done();
        },
      });
    const io = { stdout: collect("stdout"), stderr: collect("stderr"), env: process.env };
    const restore = showWarnings((text) => io.stderr.write(`ip2p: warning: ${text}\n`));
    const before = process.cwd();
    process.chdir(cwd);
    try {
      const status = await runCommandLine(args, { ...io, signal: new AbortController().signal });
      // Warnings come behind what caused them.
      await setImmediate();
      return { status, ...output };
    } finally {
      process.chdir(before);
      restore();
    }
  };
  const outcome = last.then(run);
  last = outcome.catch(() => {});
  return outcome;
}

/** Runs any program for Node.js in a separate process. */
export function runProgram(program: string, args: readonly string[], options: RunOptions): Promise<Outcome> {
  const { cwd, env, fileSizeLimit, onOutput } = options;
  const command = [process.execPath, program, ...args];
  if (fileSizeLimit !== undefined) command.unshift("bash", "-c", `ulimit -f ${fileSizeLimit}; exec "$@"`, "bash");
  const child = spawn(command[0]!, command.slice(1), { cwd, env: { ...process.env, ...env } });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output.stdout += text;
    onOutput?.(output.stdout, child);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output.stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ status: code ?? signal!, ...output }));
  });
}

/** A temporary folder, or this one, to run in; removed by `using`. */
export class Workplace implements Disposable {
  constructor(readonly folder = mkdtempSync(join(tmpdir(), "ip2p-cli-"))) {}

  /** A path in the folder. */
  at(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  /** A copy of the tiny model that may be broken at will. */
  copyOfModel(name = "model"): string {
    cpSync(tinyModel, this.at(name), { recursive: true });
    return this.at(name);
  }

  /** Every file and folder below, by its relative path. */
  list(): string[] {
    return readdirSync(this.folder, { recursive: true }).map(String).sort();
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const tinyModel = fixture("ip2p-tiny", "model");
export const tinyImage = fixture("ip2p-tiny", "image.png");

/** Arguments of a quick edit that works; later ones take precedence. */
export function editArguments(...more: string[]): string[] {
  return [
    ...["edit", "--model", tinyModel, "--image", tinyImage, "--prompt", "make it a snowy day", "--output", "out.png"],
    // More threads than one only get into each other's way with a model as small as this.
    ...["--num_inference_steps", "2", "--num_threads", "1", "--device", "cpu", "--seed", "0"],
    ...more,
  ];
}
