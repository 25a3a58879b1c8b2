import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/**
 * One of the two programs that are compared: a process that takes commands and answers with one JSON object per line.
 * It runs only while the other one waits for its next command.
 */
export class Side {
  #child;
  #lines;
  #stderr = "";

  /** @param dtype of the model that it loads */
  constructor(name, command, args, env, dtype) {
    this.name = name;
    this.dtype = dtype;
    this.#child = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr.setEncoding("utf8").on("data", (text) => {
      this.#stderr = (this.#stderr + text).slice(-4000);
    });
    this.#child.on("error", (error) => {
      this.#stderr += error.message;
    });
    this.#child.stdin.on("error", () => {}); // the process has ended; the missing answer reports it
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Sends a command and resolves to its answer. */
  async ask(command) {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.name} ended during ${JSON.stringify(command)}: ${this.#stderr.trim()}`);
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(`${this.name}: ${answer.error}`);
    return answer;
  }

  /** Lets the process end. */
  async close() {
    this.#child.stdin.end();
    if (this.#child.exitCode === null) await new Promise((resolve) => this.#child.once("close", resolve));
  }

  kill() {
    this.#child.kill("SIGKILL");
  }
}
