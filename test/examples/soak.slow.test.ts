import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** The whole of it, `node scripts/soak-server.mjs`, sends 10,000 requests. */
function soak(...args: string[]) {
  const program = fileURLToPath(new URL("../../scripts/soak-server.mjs", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

test("memory of the server stays flat over edits, refusals and disconnecting clients", () => {
  // Too few for a slope: what the allocator keeps at first would count as one.
  const { status, stdout, stderr } = soak("--requests", "400", "--most", "40", "--slope", "1000");
  expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(/: flat;/);
});

test("the soak test detects a leak", () => {
  const { status, stdout } = soak("--requests", "240", "--leak");
  expect(status, stdout).toBe(1);
  expect(stdout).toContain("NOT FLAT");
});
