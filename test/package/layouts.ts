import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { npmProgram, programOf, type RunResult, runAnyhow } from "./run.js";

/** A package manager, told how to lay out node_modules. */
export interface Layout {
  name: string;
  /** The package manager's program, run by Node.js. */
  program(): string | Promise<string>;
  /** The arguments that add packages to the project in a folder; may write settings there. */
  adding(folder: string, registry: string): string[];
  /** The arguments that run a command of an installed package. */
  running: string[];
  /** The arguments that run Node.js so that it finds installed packages. */
  node: string[];
}

const npm = (name: string, ...options: string[]): Layout => ({
  name,
  program: npmProgram,
  adding: (_folder, registry) => ["install", `--registry=${registry}`, "--no-audit", "--no-fund", ...options],
  running: ["exec", "--"],
  node: ["exec", "--", "node"],
});

const pnpm = (name: string, linker: string): Layout => ({
  name,
  program: () => programOf("pnpm", "bin/pnpm.cjs"),
  adding: (folder, registry) => [
    ...[
      "add",
      `--registry=${registry}`,
      `--config.node-linker=${linker}`,
      `--store-dir=${shared(folder, "pnpm-store")}`,
    ],
  ],
  running: ["exec"],
  node: ["exec", "node"],
});

const yarn = (name: string, linker: string): Layout => ({
  name,
  program: () => programOf("@yarnpkg/cli-dist", "bin/yarn.js"),
  adding: (folder, registry) => {
    const settings = {
      nodeLinker: linker,
      npmRegistryServer: registry,
      unsafeHttpWhitelist: ["127.0.0.1"],
      npmMinimalAgeGate: 0,
      enableTelemetry: false,
      enableScripts: false,
      // The user's global yarn cache may hold another build of the same version.
      enableGlobalCache: false,
      enableMirror: false,
      globalFolder: shared(folder, "yarn-global"),
      cacheFolder: shared(folder, "yarn-cache"),
    };
    writeFileSync(join(folder, ".yarnrc.yml"), JSON.stringify(settings));
    // A lockfile makes it a separate project in any folder.
    writeFileSync(join(folder, "yarn.lock"), "");
    return ["add"];
  },
  running: ["run"],
  node: ["node"],
});

const yarnClassic: Layout = {
  name: "yarn 1",
  program: () => programOf("yarn", "bin/yarn.js"),
  adding: (folder, registry) => [
    ...["add", `--registry=${registry}`, "--non-interactive", "--no-progress", "--ignore-scripts"],
    `--cache-folder=${shared(folder, "yarn-classic-cache")}`,
  ],
  running: ["run", "--silent"],
  node: ["--silent", "node"],
};

/** A folder beside a project's, for what projects share. */
const shared = (folder: string, name: string) => join(folder, "..", name);

export const layouts = {
  npm: npm("npm"),
  npmLinked: npm("npm, linked", "--install-strategy=linked"),
  pnpmIsolated: pnpm("pnpm, isolated", "isolated"),
  pnpmHoisted: pnpm("pnpm, hoisted", "hoisted"),
  yarnHoisted: yarn("yarn, hoisted", "node-modules"),
  yarnIsolated: yarn("yarn, isolated", "pnpm"),
  yarnClassic,
} satisfies Record<string, Layout>;

/** A project with one of the layouts. */
export class Project {
  readonly folder: string;
  readonly #layout: Layout;
  readonly #env: NodeJS.ProcessEnv;

  /** A new one, if there is none. */
  constructor(folder: string, layout: Layout, env: NodeJS.ProcessEnv) {
    this.folder = folder;
    this.#layout = layout;
    this.#env = env;
    mkdirSync(folder, { recursive: true });
    if (!existsSync(this.at("package.json")))
      writeFileSync(this.at("package.json"), `${JSON.stringify({ name: "consumer", private: true })}\n`);
  }

  /** The same project with more environment. */
  with(env: NodeJS.ProcessEnv): Project {
    return new Project(this.folder, this.#layout, { ...this.#env, ...env });
  }

  /** A path in its folder. */
  at(...path: string[]): string {
    return join(this.folder, ...path);
  }

  /** Adds packages. */
  async add(registry: string, ...packages: string[]): Promise<void> {
    await this.#succeed([...this.#layout.adding(this.folder, registry), ...packages]);
  }

  /** Runs the command of this package as the layout's users do. */
  ip2p(...args: string[]): Promise<RunResult> {
    return this.#succeed([...this.#layout.running, "ip2p", ...args]);
  }

  /** The same, however it ends. */
  async ip2pAnyhow(...args: string[]): Promise<RunResult> {
    return this.#manager([...this.#layout.running, "ip2p", ...args]);
  }

  /** Runs a program of the project and returns what it prints. */
  async node(file: string, content: string): Promise<string> {
    writeFileSync(this.at(file), content);
    return (await this.#succeed([...this.#layout.node, file])).stdout.trim();
  }

  async #manager(args: readonly string[]): Promise<RunResult> {
    return runAnyhow(process.execPath, [await this.#layout.program(), ...args], { cwd: this.folder, env: this.#env });
  }

  async #succeed(args: readonly string[]): Promise<RunResult> {
    const result = await this.#manager(args);
    if (result.status === 0) return result;
    throw new Error(
      `${this.#layout.name}: ${args.join(" ")} ended with ${result.status}\n${result.stdout}${result.stderr}`,
    );
  }
}
