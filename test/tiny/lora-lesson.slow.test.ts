import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runProgram } from "../cli/run-cli.js";

const program = fileURLToPath(new URL("../../scripts/tiny/lesson.mjs", import.meta.url));

test("a LoRA of rank 8 teaches the built-in model a new edit, and it keeps those that it knew", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-lesson-"));
  try {
    const args = ["--output_dir", folder, "--lora", "--rank", "8", "--learning_rate", "5e-3"];
    const { status, stdout, stderr } = await runProgram(program, args, { cwd: folder });
    expect([status, stderr]).toEqual([0, ""]);
    const { learned, known } = JSON.parse(stdout) as { learned: number; known: number };
    expect(learned).toBeGreaterThanOrEqual(0.9);
    expect(known).toBeGreaterThanOrEqual(0.85);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 1_800_000);
