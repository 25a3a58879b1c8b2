// linux-arm64 on another Linux machine: builds its addon, and tests it by emulation. docs/packaging.md describes it.
//
//   node scripts/arm64.mjs programs           installs the emulator and the compiler, if they are missing
//   node scripts/arm64.mjs build              the addon too; prints its folder
//   node scripts/arm64.mjs node ARGUMENTS…    runs Node.js there, in a copy of this repository
//   node scripts/arm64.mjs test [NAME…]       all of scripts/arm64/checks.mjs, or those named
//
// What is downloaded lies in the user's cache, the copy of the repository in .arm64/. IP2P_ARM64=neon_bf16 emulates a
// processor with bfloat16 instructions, where not a check names its own.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureMachine, ensurePrograms } from "./arm64/machine.mjs";
import { ensureProject, PLATFORM } from "./arm64/project.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const project = join(root, ".arm64", "project");
const COMMANDS = ["programs", "build", "node", "test"];
const say = (text) => console.error(`arm64: ${text}`);

async function main([command, ...args]) {
  if (process.platform !== "linux") throw new Error("the emulator runs on Linux only");
  if (command === "programs") return ensurePrograms(say);
  if (!COMMANDS.includes(command)) throw new Error(`the command is ${command}, not one of ${COMMANDS.join(", ")}`);
  const { cacheFolder } = await import("../dist/runtime/platform.js");
  const cache = join(cacheFolder(), "arm64");
  const scripts = join(root, ".arm64", "machine");
  const machine = ensureMachine({ cache, scripts, say });
  const { build } = await ensureProject({ root, project, cache, say });
  if (command === "build") return console.log(build);
  const run = runner(machine, cache);
  const world = { root, project, build, cache, say, platform: PLATFORM, run };
  if (command === "node") return run(args, { processor: process.env.IP2P_ARM64 ?? "neon" });
  const { check } = await import("./arm64/checks.mjs");
  await check(world, args);
}

/**
 * `run(arguments, { processor, folder, env })` runs Node.js there on this terminal and resolves to what it printed; rejects
 * where it fails.
 */
function runner(machine, cache) {
  return (args, { processor = "neon", folder = project, env = {} } = {}) =>
    new Promise((resolve, reject) => {
      const variables = { INSTRUCT_PIX2PIX_CACHE: cache, OMP_NUM_THREADS: "1", LIBTORCH: "", LIBTORCH_USE_PYTORCH: "" };
      const child = spawn(machine.node(processor), args, {
        cwd: folder,
        env: { ...process.env, ...variables, ...env },
        stdio: ["ignore", "pipe", "inherit"],
      });
      let printed = "";
      child.stdout.setEncoding("utf8").on("data", (text) => {
        printed += text;
        process.stdout.write(text);
      });
      child.on("error", reject);
      child.on("close", (status, signal) =>
        status === 0 ? resolve(printed) : reject(new Error(`${args.join(" ")} ended with ${status ?? signal}`)),
      );
    });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`arm64: ${error.message}`);
  process.exitCode = 1;
}
