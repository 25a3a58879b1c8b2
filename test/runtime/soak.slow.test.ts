import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** The whole of it, `node scripts/soak.mjs`, takes minutes. */
function soak(...args: string[]) {
  const program = fileURLToPath(new URL("../../scripts/soak.mjs", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

test("memory stays flat over edits, objects made and disposed of, and workers terminated", () => {
  const { status, stdout, stderr } = soak("--edits", "30", "--objects", "300", "--workers", "4", "--most", "16");
  expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: "" });
  expect(stdout.match(/: flat$/gm)).toHaveLength(3);
});

test("the soak test detects a leak", () => {
  const { status, stdout } = soak("--edits", "18", "--objects", "0", "--workers", "0", "--leak");
  expect(status).toBe(1);
  expect(stdout).toContain("NOT FLAT");
});
