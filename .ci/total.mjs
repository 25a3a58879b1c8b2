// Adds up the results of several runs of vitest:
//
//   node .ci/total.mjs RESULTS.json ...
//
// Names every failure with its message once more at the end, since a long log is often shown by its last lines only. Prints
// "N passed, N failed" and exits with 1 if anything failed or a run left no results.
import { readFileSync } from "node:fs";
import { relative } from "node:path";

// A message of several lines, such as a difference of two objects, is cut after so many characters.
const MESSAGE_LENGTH = 1500;

function report(name, message) {
  console.log(`FAILED ${name}\n${message.trim().slice(0, MESSAGE_LENGTH)}\n`);
}

let [passed, failed] = [0, 0];
for (const path of process.argv.slice(2)) {
  try {
    const run = JSON.parse(readFileSync(path, "utf8"));
    passed += run.numPassedTests;
    failed += run.numFailedTests;
    // A file that cannot be loaded, or an error outside any test, counts as one failure.
    if (!run.success && run.numFailedTests === 0) failed += Math.max(1, run.numFailedTestSuites);
    for (const file of run.testResults) {
      const name = relative(process.cwd(), file.name);
      const tests = file.assertionResults.filter((test) => test.status === "failed");
      for (const test of tests) report(`${name}: ${test.fullName}`, test.failureMessages.join("\n"));
      if (file.status === "failed" && tests.length === 0) report(name, file.message);
    }
  } catch (error) {
    console.error(`no results in ${path}: ${error.message}`);
    failed++;
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
