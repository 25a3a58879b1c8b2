import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { root } from "../docs/pages.js";
import { readJson } from "../helpers/fixtures.js";

const run = promisify(execFile);

/** The oldest release that is supported, and the newest of each line that is maintained. */
const VERSIONS = ["20.18.1", "22.23.3", "24.21.0", "26.10.0"];

interface Smoke {
  warnings: string[];
  edit: string;
  worker: string;
  training: string;
  resumed: string;
}

/** The path of a release of Node.js, which npm fetches at the first time. */
async function nodeOf(version: string): Promise<string> {
  const { stdout } = await run("npx", ["--yes", "--package", `node@${version}`, "node", "-p", "process.execPath"]);
  return stdout.trim();
}

const results: Smoke[] = [];

test.each(VERSIONS)(
  "Node.js %s loads the addon, edits, trains, works in threads and ends",
  async (version) => {
    const node = await nodeOf(version);
    expect((await run(node, ["--version"])).stdout.trim()).toBe(`v${version}`);
    const folder = mkdtempSync(join(tmpdir(), "ip2p-smoke-"));
    try {
      const program = join(import.meta.dirname, "smoke.mjs");
      const { stdout, stderr } = await run(node, ["--expose-gc", program, folder], { timeout: 200_000 });
      expect(stderr).toBe("");
      const result = JSON.parse(stdout.trim().split("\n").at(-1)!) as Smoke;
      expect(result.warnings).toEqual([]);
      expect([result.worker, result.resumed]).toEqual([result.edit, result.training]);
      results.push(result);
      expect(result).toEqual(results[0]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  400_000,
);

test("the oldest tested version is the one in package.json", () => {
  const { engines } = readJson<{ engines: { node: string } }>(join(root, "package.json"));
  expect(engines.node).toBe(`>=${VERSIONS[0]}`);
});
