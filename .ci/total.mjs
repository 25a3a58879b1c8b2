// Adds up the results of several runs of vitest:
//
//   node .ci/total.mjs RESULTS.json ...
//
// Prints "N passed, N failed" and exits with 1 if anything failed or a run left no results.
import { readFileSync } from "node:fs";

let [passed, failed] = [0, 0];
for (const path of process.argv.slice(2)) {
  try {
    const run = JSON.parse(readFileSync(path, "utf8"));
    passed += run.numPassedTests;
    failed += run.numFailedTests;
    // A file that cannot be loaded, or an error outside any test, counts as one failure.
    if (!run.success && run.numFailedTests === 0) failed += Math.max(1, run.numFailedTestSuites);
  } catch (error) {
    console.error(`no results in ${path}: ${error.message}`);
    failed++;
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
