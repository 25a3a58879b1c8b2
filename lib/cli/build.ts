import { buildAddon } from "../runtime/build.js";
import { defineCommand } from "./command.js";

/** `ip2p build`: compiles the addon on this machine. */
export const buildCommand = defineCommand({
  name: "build",
  summary: "build the native addon on this machine (needs CMake and a C++20 compiler)",
  options: {
    libtorch: { type: "string", value: "DIR", help: "the libtorch to build against; default is the one that is found" },
    tool: {
      type: "string",
      choices: ["auto", "cmake-js", "cmake"],
      default: "auto",
      help: "what runs CMake: cmake-js, which Windows needs, or nothing else; auto takes cmake-js where it is installed",
    },
    parallel: { type: "integer", value: "N", help: "compilers at once; default is what cores and memory allow" },
    clean: { type: "boolean", help: "begin from nothing" },
    force: { type: "boolean", help: "build even if nothing has changed" },
    verbose: { type: "boolean", help: "print all that the tools print" },
    json: { type: "boolean", help: "print the result as one JSON object" },
  },
  async run({ libtorch, tool, parallel, clean, force, verbose, json }, io) {
    const { built, files } = await buildAddon({
      ...{ libtorch, tool, parallel, clean, force },
      env: io.env,
      signal: io.signal,
      onBegin: (text) => io.stderr.write(`${text}\n`),
      onLine: (line) => {
        if (verbose || /\bwarning:/i.test(line)) io.stderr.write(`${line}\n`);
      },
    });
    if (json) io.stdout.write(`${JSON.stringify({ addon: files.addon, built, ...files.build })}\n`);
    else io.stdout.write(built ? `built ${files.addon}\n` : `${files.addon} is up to date\n`);
    return 0;
  },
});
