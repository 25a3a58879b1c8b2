// vitest's vm pools run each file of tests in a realm of its own (node:vm), and several files one after another in one process
// or thread.

import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "../../lib/runtime/platform.js";
import { programOf, runAnyhow } from "../package/run.js";
import { copyPackage } from "./package-copy.js";

const program = fileURLToPath(new URL("vm-pools/program.mjs", import.meta.url));
const modules = join(packageRoot, "node_modules");

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-vm-pools-"));
  // vitest leaves what is installed to Node.js' loaders, and transforms what lies outside of node_modules.
  for (const name of ["installed", "linked"]) {
    const place = join(folder, name);
    mkdirSync(join(place, "node_modules"), { recursive: true });
    writeFileSync(join(place, "package.json"), "{}");
    for (const file of ["first", "second"]) copyFileSync(program, join(place, `${file}.test.mjs`));
    symlinkSync(join(modules, "vitest"), join(place, "node_modules", "vitest"), "junction");
  }
  const installed = join(folder, "installed", "node_modules", "instruct-pix2pix");
  copyPackage(installed);
  symlinkSync(modules, join(installed, "node_modules"), "junction");
  symlinkSync(packageRoot, join(folder, "linked", "node_modules", "instruct-pix2pix"), "junction");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["vmForks", "installed"],
  ["vmForks", "linked"],
  ["vmThreads", "installed"],
  ["vmThreads", "linked"],
])("the %s pool of vitest runs programs with the %s package", { timeout: 300_000 }, async (pool, name) => {
  const outer = Object.keys(process.env).filter((key) => /^(VITEST|NODE_OPTIONS|TEST$)/.test(key));
  const env = { ...process.env, ...Object.fromEntries(outer.map((key) => [key, undefined])) };
  const options = [`--pool=${pool}`, "--maxWorkers=1", "--testTimeout=120000", "--reporter=json"];
  const vitest = programOf("vitest", "vitest.mjs");
  const { stdout, stderr } = await runAnyhow(process.execPath, [vitest, "run", "--root", ".", ...options], {
    cwd: join(folder, name),
    env,
  });
  const { testResults, numPassedTests } = JSON.parse(stdout);
  const failures = testResults.flatMap(
    ({ message, assertionResults }: { message: string; assertionResults: { failureMessages: string[] }[] }) => [
      ...(message ? [message] : []),
      ...assertionResults.flatMap(({ failureMessages }) => failureMessages),
    ],
  );
  expect(failures, stderr).toEqual([]);
  expect(testResults).toHaveLength(2);
  expect(numPassedTests).toBeGreaterThan(30);
});
