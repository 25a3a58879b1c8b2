import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const ADDON = "test/**/*.addon.test.ts";
const SLOW = "test/**/*.slow.test.ts";

/** The tiers, by the end of a file's name. `npm test` runs the first two, `npm run test:slow` the third. */
const tier = (name: string, include: string, exclude: string[] = []) => ({
  extends: true as const,
  test: { name, include: [include], exclude },
});

export default defineConfig({
  test: {
    projects: [
      // Everything that TypeScript decides: needs no native build.
      tier("typescript", "test/**/*.test.ts", [ADDON, SLOW]),
      // What computes: needs the built addon and libtorch.
      tier("addon", ADDON),
      // Package managers, soaks, fuzzing, instruction counts, other releases of Node.js: minutes, not seconds.
      tier("slow", SLOW),
    ],
    // The models of the tests are tiny: a second thread would only wait for the first.
    env: { OMP_NUM_THREADS: "1" },
    // Each file has a process of its own, since the addon holds one job queue per device for the whole process.
    pool: "forks",
    // One more than there are cores: some tests wait, for memory to be returned, for servers' pauses, for other processes.
    maxWorkers: availableParallelism() + 1,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
