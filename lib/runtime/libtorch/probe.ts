import { join } from "node:path";
import { nodeProgram, runProgram } from "../child-process.js";
import { sharedLibraryName } from "../platform.js";
import type { Libtorch } from "./find.js";

/** Runs in a separate process, so that a library that crashes while being loaded does no harm. */
const program = `
const { writeSync } = require("node:fs");
const { dlopen: { RTLD_NOW, RTLD_GLOBAL } } = require("node:os").constants;
for (const path of process.argv.slice(1)) {
  try {
    process.dlopen({ exports: {} }, path, RTLD_NOW | RTLD_GLOBAL);
  } catch (error) {
    // Node.js loads the library and then fails to find a Node.js module in it, which is expected.
    if (!/did not self-register|Module did not/.test(error.message)) {
      writeSync(1, error.message.split("\\n")[0]);
      break;
    }
  }
}
writeSync(1, "\\0");
process.kill(process.pid, "SIGKILL");
`;

/**
 * Loads libtorch's libraries in another process.
 *
 * @param halves the CPU half alone, or the CUDA half with it.
 * @returns undefined if they load, else the reason in one line.
 */
export async function probeLibtorch(
  libtorch: Pick<Libtorch, "root">,
  halves: "cpu" | "cuda",
): Promise<string | undefined> {
  const stems = halves === "cuda" ? ["torch_cpu", "torch_cuda"] : ["torch_cpu"];
  const paths = stems.map((stem) => join(libtorch.root, "lib", sharedLibraryName(stem)));
  const { path, args, variables } = nodeProgram;
  const { stdout, status, signal, error } = await runProgram(path, args(program, ...paths), { variables });
  if (error) return error.message;
  if (stdout.endsWith("\0")) return stdout.slice(0, -1) || undefined;
  return `a process that opened it ended with ${signal ?? `status ${status}`}`;
}
