import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { flagsOf } from "../reliability/train-process.js";

const main = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));

/** Where a program runs. */
interface Surroundings {
  /** What goes before it on the command line, and replaces itself by it. */
  prefix?: readonly string[];
  /** More variables of the environment. */
  env?: NodeJS.ProcessEnv | undefined;
}

/** `ip2p launch` with `train` behind it. */
export class Launched {
  readonly child: ChildProcess;
  readonly ended: Promise<{ status: number | string; stdout: string; stderr: string }>;
  #stdout = "";
  #listeners: (() => void)[] = [];

  constructor(size: number, options: TrainInput, own: readonly string[] = [], { prefix = [], env }: Surroundings = {}) {
    const launch = ["launch", `--num_processes=${size}`, ...own, "train", "--json", ...flagsOf(options)];
    const [program, ...args] = [...prefix, process.execPath, main, ...launch];
    this.child = spawn(program!, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    let stderr = "";
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
      for (const listener of this.#listeners) listener();
    });
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.on("error", reject);
      this.child.on("close", (code, signal) => resolve({ status: code ?? signal!, stdout: this.#stdout, stderr }));
    });
  }

  /** Resolves when rank 0 has told of a step, or when all has ended. */
  async reached(step: number): Promise<void> {
    const told = () => this.#stdout.includes(`{"event":"step","step":${step},`);
    const heard = new Promise<void>((resolve) => {
      this.#listeners.push(() => told() && resolve());
      if (told()) resolve();
    });
    await Promise.race([heard, this.ended]);
  }

  /** The process ids by rank, as Linux tells them. */
  get ranks(): number[] {
    const { pid } = this.child;
    const ids = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number);
    const rankOf = (id: number) => Number(/(?:^|\0)RANK=(\d+)/.exec(readFileSync(`/proc/${id}/environ`, "utf8"))![1]);
    return ids.sort((a, b) => rankOf(a) - rankOf(b));
  }
}
