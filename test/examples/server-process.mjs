// `ip2p serve` in a process of its own, and examples as a user has them: copies of their folders with their dependencies.
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Copies an example to a folder, with links in place of what `npm install` would fetch. */
export function installExample(folder, name = "server") {
  cpSync(join(root, "examples", name), folder, { recursive: true });
  const { dependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  // Types that do not come with a dependency lie beside it.
  const types = Object.keys(dependencies).map((each) => `@types/${each}`);
  for (const each of [...Object.keys(dependencies), ...types]) {
    const target = each === "instruct-pix2pix" ? root : join(root, "node_modules", each);
    if (!existsSync(target)) continue;
    const link = join(folder, "node_modules", each);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(target, link, "junction");
  }
}

export class ServerProcess {
  #child;
  /** Resolves to the exit status, or the signal that ended the process. */
  exit;
  url = "";
  log = "";

  constructor(child) {
    this.#child = child;
    this.exit = new Promise((resolve) => child.once("close", (status, signal) => resolve(signal ?? status)));
    child.stderr.setEncoding("utf8").on("data", (text) => {
      this.log += text;
    });
  }

  /** Resolves as soon as it listens. One thread computes, as a model this small has more of them wait for each other. */
  static async start(flags = {}, variables = {}) {
    const settings = Object.entries({ port: 0, device: "cpu", ...flags });
    const argv = settings.flatMap(([name, value]) => [`--${name}`, String(value)]);
    const env = { ...process.env, OMP_NUM_THREADS: "1", ...variables };
    const program = join(root, "dist", "cli", "main.js");
    const server = new ServerProcess(spawn(process.execPath, [program, "serve", ...argv], { env }));
    const listening = new Promise((resolve) => {
      createInterface({ input: server.#child.stdout }).on("line", (line) => {
        server.log += `${line}\n`;
        const address = /Server listening at (http:[^\s"]+)/.exec(line);
        if (address) resolve(address[1]);
      });
    });
    const url = await Promise.race([listening, server.exit]);
    if (typeof url !== "string" || !url.startsWith("http")) {
      await server.stop();
      throw new Error(`the server ended with ${url}: ${server.log}`);
    }
    server.url = url;
    return server;
  }

  signal(name) {
    this.#child.kill(name);
  }

  /** The figures of /metrics, by their names and labels. The event loop's delays are those since they were read last. */
  async metrics() {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(lines.map((line) => [line.replace(/ \S+$/, ""), Number(line.split(" ").at(-1))]));
  }

  /** One of the figures; 0 where nothing was counted. */
  async metric(name) {
    return (await this.metrics()).get(name) ?? 0;
  }

  async stop() {
    this.#child.kill("SIGKILL");
    await this.exit;
  }
}
