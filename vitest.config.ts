import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

const ADDON = "test/**/*.addon.test.ts";
const SLOW = "test/**/*.slow.test.ts";

/** Files of which the slow tier tries all random cases, and `npm test` a tenth: see test/helpers/cases.ts. */
const PROPERTIES = [
  "test/components/model-index.test.ts",
  "test/models/{config,weights}.test.ts",
  "test/pipelines/step-batching.addon.test.ts",
  "test/training/{checkpoint-manifest,lr-schedule}.test.ts",
];

/** Files that look at the memory, the threads or the end of the process, or that leave threads and servers behind. */
const OWN_PROCESS = [
  "test/*.addon.test.ts",
  "test/{native,runtime,server}/**/*.addon.test.ts",
  "test/training/reliability/*.addon.test.ts",
];

/** Files that replace modules, which have to be loaded anew, and those that count the process's native objects. */
const ALONE = readdirSync(join(import.meta.dirname, "test"), { recursive: true, encoding: "utf8" })
  .map((path) => `test/${path.replaceAll("\\", "/")}`)
  .filter(
    (path) =>
      path.endsWith(".test.ts") &&
      /\bvi\.(?:mock|doMock|resetModules)\(|\bmemoryUsage\(\)\.objects\b/.test(
        readFileSync(join(import.meta.dirname, path), "utf8"),
      ),
  );

/** Tests whose files run one after the other in a few processes, which load modules, libtorch and the addon once. */
const shared = (name: string, include: string[], exclude: string[]) => ({
  extends: true as const,
  test: { name, include, exclude, isolate: false, setupFiles: "test/helpers/shared-process.ts" },
});

/** Tests of which each file has a process of its own. */
const isolated = (name: string, include: string[], exclude: string[] = []) => ({
  extends: true as const,
  test: { name, include, exclude },
});

const alone = (addon: boolean) =>
  ALONE.filter((path) => !path.endsWith(".slow.test.ts") && path.endsWith(".addon.test.ts") === addon);

/**
 * The tiers, by the end of a file's name. `npm test` runs all but the slow one, which `npm run test:slow` runs;
 * `npm run test:typescript` runs those that need no native build.
 */
export default defineConfig({
  test: {
    projects: [
      // Everything that TypeScript decides: needs no native build.
      shared("typescript", ["test/**/*.test.ts"], [ADDON, SLOW, ...ALONE]),
      isolated("typescript-isolated", alone(false)),
      // What computes: needs the built addon and libtorch.
      shared("addon", [ADDON], [...OWN_PROCESS, ...ALONE]),
      isolated("addon-isolated", [...OWN_PROCESS, ...alone(true)]),
      // Package managers, soaks, fuzzing, instruction counts, other releases of Node.js: minutes, not seconds.
      { extends: true, test: { name: "slow", include: [SLOW, ...PROPERTIES], env: { ALL_CASES: "1" } } },
    ],
    // The models of the tests are tiny: a second thread would only wait for the first.
    env: { OMP_NUM_THREADS: "1" },
    // Processes, not threads: the addon holds one job queue per device for the whole process.
    pool: "forks",
    // One more than there are cores: some tests wait, for memory to be returned, for servers' pauses, for other processes.
    maxWorkers: availableParallelism() + 1,
    // For what hangs; a slow or busy machine may take its time.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
