import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { tryTo } from "../helpers/try-to.js";
import { measureInChild } from "./child.js";

const source = fileURLToPath(new URL("hold-trim.cc", import.meta.url));

test("jobs are posted and done while unused memory is returned to the system", async ({ skip }) => {
  skip(process.platform !== "linux", "memory is kept for reuse on Linux only");
  skip(!tryTo("c++", "--version"), "c++ was not found");
  const folder = mkdtempSync(join(tmpdir(), "ip2p-trim-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const library = join(folder, "hold-trim.so");
  execFileSync("c++", ["-std=c++17", "-shared", "-fPIC", source, "-o", library, "-ldl"]);
  // The program computes while the memory's return is held, and only then lets it go on: it would wait for ever if either
  // a queue's thread or a lock were held too.
  const outcome = await measureInChild("idle-trim.mjs", [folder], {
    env: { LD_PRELOAD: library, HOLD_TRIM: folder, IP2P_CPU_ALLOCATOR: "" },
  });
  expect(outcome).toEqual({ element: 6, pixel: 9 });
});
