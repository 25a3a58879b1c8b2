import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { camelCase } from "../../../lib/options/names.js";
import { trainOptions } from "../../../lib/training/options.js";
import type { TrainInput } from "../../../lib/training/train-input.js";

/** The command as it is installed; `npm test` compiles it first. */
const main = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));

/** A line of `ip2p train --json`. */
export interface Told {
  event: string;
  step?: number;
  [key: string]: unknown;
}

export interface Ended {
  /** The exit status, or the name of the signal that ended the process. */
  status: number | string;
  told: Told[];
  stderr: string;
  /** The last optimizer step that was reported. */
  lastStep: number;
  /** The last checkpoint that was reported as saved. */
  lastCheckpoint: number;
  /** The step of the checkpoint that the run went on from; 0 if it started anew. */
  resumedAt: number;
}

/** `ip2p train` in a separate process. */
export class TrainProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly #told: Told[] = [];
  #listeners: ((told: Told) => void)[] = [];

  constructor(options: TrainInput, { fileSizeLimit, env }: { fileSizeLimit?: number; env?: NodeJS.ProcessEnv } = {}) {
    const command = [process.execPath, main, "train", "--json", ...flagsOf(options)];
    // Kilobytes that a file may have, as a stand-in for a full disk.
    if (fileSizeLimit !== undefined) command.unshift("bash", "-c", `ulimit -f ${fileSizeLimit}; exec "$@"`, "bash");
    this.child = spawn(command[0]!, command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    let [rest, stderr] = ["", ""];
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#hear(JSON.parse(line) as Told);
    });
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.on("error", reject);
      this.child.on("close", (code, signal) => {
        const last = (event: string) => this.#told.filter((told) => told.event === event).at(-1)?.step ?? 0;
        resolve({
          status: code ?? signal!,
          told: this.#told,
          stderr,
          lastStep: last("step"),
          lastCheckpoint: last("checkpoint"),
          resumedAt: last("resumed"),
        });
      });
    });
  }

  /** Resolves when something is told that `is` wanted, or when the process has ended. */
  async heard(is: (told: Told) => boolean): Promise<void> {
    if (this.#told.some(is)) return;
    const heard = new Promise<void>((resolve) => {
      this.#listeners.push((told) => {
        if (is(told)) resolve();
      });
    });
    await Promise.race([heard, this.ended]);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  #hear(told: Told): void {
    this.#told.push(told);
    for (const listener of this.#listeners) listener(told);
  }
}

export function flagsOf(options: TrainInput): string[] {
  return Object.keys(trainOptions).flatMap((name) => {
    const value = options[camelCase(name) as keyof TrainInput];
    if (value === undefined || value === false) return [];
    return value === true ? [`--${name}`] : [`--${name}=${value}`];
  });
}
