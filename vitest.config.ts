import { defineConfig } from "vitest/config";

// The addon holds one job queue per device for the whole process, so test files run in their own forked processes, one
// at a time: on two cores, parallel files would only fight for the same OpenMP threads.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // The models of the tests are tiny: a second thread would only wait for the first.
    env: { OMP_NUM_THREADS: "1" },
    pool: "forks",
    fileParallelism: false,
    // Servers, signals and timers meet a shared machine's hiccups; one that fails three times in a row has failed.
    retry: process.env.CI ? 2 : 0,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
