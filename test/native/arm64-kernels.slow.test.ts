// The kernels for linux-arm64, on a machine of another kind: cross-compiled and run in an emulator, without libtorch and
// Node.js. `npm run test:arm64` tests all of the package there.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { packageRoot } from "../../lib/runtime/platform.js";
import { temporaryFolder } from "../runtime/libtorch/fixtures.js";
import { buildKernelProgram } from "./kernel-program.js";

const { COMPILER, EMULATOR, missingPackages, PROCESSORS } = (await import(
  join(packageRoot, "scripts", "arm64", "machine.mjs")
)) as { COMPILER: string; EMULATOR: string; missingPackages: () => string[]; PROCESSORS: Record<string, string> };

const run = promisify(execFile);

test.for(Object.entries(PROCESSORS))(
  "the kernels for %s compute what plain arithmetic does",
  async ([set, cpu], { skip }) => {
    const missing = missingPackages();
    // .ci/run installs them where it can, and prints why it cannot.
    skip(missing.length > 0, `not installed: ${missing.join(", ")}; \`npm run test:arm64\` installs them`);
    const program = await buildKernelProgram(COMPILER, set, "test/native/kernels/main.cc", temporaryFolder(), [
      "-static",
    ]);
    const { stdout } = await run(EMULATOR, ["-cpu", cpu, program]).catch((error: { stdout: string }) => error);
    const lines = stdout.trim().split("\n");
    expect(lines.filter((line) => line.startsWith("FAILED"))).toEqual([]);
    // The last comparison, so that none is missing because the program has ended.
    expect(lines.at(-1)).toMatch(/^not a number: /);
  },
);
