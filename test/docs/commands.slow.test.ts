import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { COMMANDS } from "../../lib/cli/commands.js";
import { launchOptions } from "../../lib/cli/launch/options.js";
import { splitCommand } from "../../lib/cli/launch/split.js";
import { parseArguments } from "../../lib/options/parse.js";
import { trainOptions } from "../../lib/training/options.js";
import { ip2pHere } from "../cli/run-cli.js";
import { blocks, type Command, commands, read, root } from "./pages.js";
import { useDocsWorld } from "./workplace.js";

/** What makes commands small enough for a test: of an option given twice the last one counts. */
const SMALLER: Record<string, string[]> = {
  edit: ["--num_inference_steps=2", "--num_threads=1", "--device=cpu"],
  generate: ["--num_inference_steps=2", "--num_threads=1", "--device=cpu"],
  upscale: ["--num_inference_steps=2", "--num_threads=1", "--device=cpu"],
  train: [
    ...["--max_train_steps=2", "--resolution=32", "--train_batch_size=1", "--gradient_accumulation_steps=1"],
    ...["--num_threads=1", "--device=cpu"],
  ],
  "make-dataset": ["--count=4"],
  "check-dataset": [],
  evaluate: ["--num_inference_steps=1", "--count=2", "--num_threads=1", "--device=cpu"],
  ema: [],
  doctor: [],
};

/** The option that names the output of commands that refuse, or warn of, what an earlier one has left there. */
const START_ANEW: Record<string, string> = {
  ...{ "make-dataset": "--output", train: "--output_dir", evaluate: "--output", ema: "--output" },
};

/** The message of a command that resumes from the latest checkpoint if none exists yet. */
const EXPECTED = /^ip2p: warning: .* has no checkpoint; training starts from the beginning\n/;

type Check = (command: Command) => void | Promise<void>;

/** Commands of `ip2p` that are not run: they are parsed. */
const parsed: Check = async ({ words: [, name, ...argv] }) => {
  const { options } = await COMMANDS.find((command) => command.name === name)!.load();
  parseArguments(options, argv);
};

/** A command that `ip2p launch` starts is parsed, too. */
const launched: Check = async ({ words: [, , ...argv] }) => {
  const { own, passedOn: command } = splitCommand(argv);
  parseArguments(launchOptions, own);
  parseArguments(trainOptions, command.slice(1));
};

/** Programs of the repository that are not run: they are there, and know the flags. */
const knowsItsFlags: Check = ({ words, text }) => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const line = words[0] === "npm" ? scripts[words[2]!] : text;
  const [program] = line?.match(/[\w/-]+\.(?:mjs|sh)(?!.*\.mjs)/) ?? [`the program of "${text}"`];
  expect(existsSync(join(root, program)), program).toBe(true);
  for (const word of words.filter((each) => each.startsWith("--") && each !== "--"))
    expect(read(program), word).toContain(word.replace(/^--/, "").split("=")[0]);
};

const nothing: Check = () => {};

/** Commands that are not run, the reason, and the check instead. */
const NOT_RUN: [command: RegExp, why: string, check: Check][] = [
  [/^npm run demo$/, "takes minutes; a step of its own in .ci/run", knowsItsFlags],
  [/^npm run (?:bench|photo|tiny)/, "takes minutes to hours", knowsItsFlags],
  [/^scripts\/gpu-check\.sh/, "needs a GPU, and builds the addon", knowsItsFlags],
  [/^python3 -m venv|^bench-env\/bin\/pip install/, "installs packages of Python from the network", nothing],
  [/^ip2p (?:install|build)\b/, "changes the installation that this test runs on", parsed],
  [
    /^npm install instruct-pix2pix$/,
    "asks the registry; test/package installs the tarballs from one of its own",
    nothing,
  ],
  [
    /^node scripts\/arm64\.mjs |^npm run (?:package|test:arm64)\b/,
    "needs an emulator, and builds the addon",
    knowsItsFlags,
  ],
  [/^npm run release -- /, "test/package releases repositories of its own", knowsItsFlags],
  [/^npm install instruct-pix2pix fastify/, "asks the registry; they are development dependencies", nothing],
  [/^ip2p config\b/, "asks questions; test/cli/config.test.ts answers them", parsed],
  [/^ip2p launch\b/, "starts several processes; test/training/distributed does", launched],
  [/^ip2p serve\b/, "runs until it is stopped; test/server starts it", parsed],
  [/^cp -r node_modules\/instruct-pix2pix\/examples\/server my-server$/, "tried in test/examples", nothing],
  [/^cd my-server$|^npm install$/, "asks the registry; test/examples links what it would install", nothing],
  [/^npm start$/, "runs until it is stopped; test/server starts the server that it is", nothing],
  [/^curl /, "test/server sends the same form", nothing],
];

const world = useDocsWorld();
beforeAll(() => {
  for (const [name, value] of Object.entries(world.env)) vi.stubEnv(name, value);
});
afterAll(() => void vi.unstubAllEnvs());
const used = new Set<RegExp>();

describe("every command in the documentation", () => {
  it.each(blocks("sh").map((block) => [block.where, block] as const))(
    "%s",
    async (_, block) => {
      using place = world.place();
      for (const command of commands(block)) {
        const { words, text } = command;
        const [program, name, ...argv] = words;
        // Usage lines are made of the declarations, and name values instead of giving them.
        if (program === "ip2p" && argv.at(-1) === "[options]") continue;
        const listed = NOT_RUN.find(([pattern]) => pattern.test(words.join(" ")));
        if (listed) {
          used.add(listed[0]);
          await listed[2](command);
          continue;
        }
        expect(program === "ip2p" && SMALLER[name!], `nobody runs: ${text}`).toBeTruthy();
        const output = START_ANEW[name!];
        if (output !== undefined && !argv.includes("--resume_from_checkpoint"))
          rmSync(place.at(argv[argv.indexOf(output) + 1]!), { recursive: true, force: true });
        const outcome = await ip2pHere([name!, ...argv, ...SMALLER[name!]!], { cwd: place.folder });
        const { status, stderr } = outcome;
        expect({ status, stderr: stderr.replace(EXPECTED, "") }, text).toEqual({ status: 0, stderr: "" });
      }
    },
    120_000,
  );

  it("is run or listed, and no listed pattern is unused", () => {
    expect(NOT_RUN.map(([pattern]) => pattern).filter((pattern) => !used.has(pattern))).toEqual([]);
  });
});

it("every block has a known language", () => {
  // Trees, types and diagrams are not run; programs and data have their own tests.
  const known = ["sh", "js", "ts", "json", "python", "text", "mermaid"];
  expect(blocks().filter(({ language }) => !known.includes(language))).toEqual([]);
  for (const { code, where } of blocks("text"))
    expect(code, where).not.toMatch(/^(?:\$ )?(?:ip2p|npx|npm|node|python3?|curl|scripts\/\S+) /m);
  for (const { code } of blocks("json")) for (const line of code.trim().split("\n")) JSON.parse(line);
});
